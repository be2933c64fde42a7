"""What a learner resumes from, as bytes: adapter, optimiser's memory, round, and what they belong to.

    "GLS1" | u32 header length | header (MessagePack map) | safetensors

The safetensors part holds float32 tensors: `adapter/<name>`; `start/<name>` where the state from which the last
local steps began is needed; `first/<name>` and `second/<name>` once there was an optimiser step. No torch here,
so that an adapter can be exported without loading a model.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gossipllm.mistakes import UserMistake
from wire.digest import short
from wire.floats import F32

_MAGIC: Final = b"GLS1"
_PREFIX: Final = struct.Struct("<4sI")


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What the tensors belong to. `layout` is the fingerprint of updates (names, shapes, scale, start, mixing)."""

    base: bytes
    tokenizer: bytes
    layout: bytes
    model_name: str
    rank: int
    alpha: float
    fan_in_fan_out: bool
    round: int
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    header: SnapshotHeader
    adapter: Mapping[str, F32]
    start: Mapping[str, F32]
    first: Mapping[str, F32]
    second: Mapping[str, F32]


def encode_snapshot(snapshot: Snapshot) -> bytes:
    header = msgspec.msgpack.encode(snapshot.header)
    kinds = {
        "adapter": snapshot.adapter,
        "start": snapshot.start,
        "first": snapshot.first,
        "second": snapshot.second,
    }
    tensors = {
        f"{kind}/{name}": np.ascontiguousarray(values)
        for kind, held in kinds.items()
        for name, values in held.items()
    }
    return b"".join((_PREFIX.pack(_MAGIC, len(header)), header, save(tensors)))


def decode_snapshot(data: bytes) -> Snapshot:
    """Raises `UserMistake` where the bytes are no snapshot."""
    try:
        magic, length = _PREFIX.unpack_from(data)
        end = _PREFIX.size + length
        header = msgspec.msgpack.decode(data[_PREFIX.size : end], type=SnapshotHeader)
        tensors = load(data[end:])
    except (struct.error, ValueError, msgspec.DecodeError, SafetensorError) as error:
        raise UserMistake(f"the saved state is no snapshot of this program: {error}") from None
    if magic != _MAGIC:
        raise UserMistake("the saved state is no snapshot of this program: it does not begin like one")
    kinds: dict[str, dict[str, F32]] = {"adapter": {}, "start": {}, "first": {}, "second": {}}
    for name, values in tensors.items():
        kind, _, rest = name.partition("/")
        kinds.setdefault(kind, {})[rest] = values
    return Snapshot(header, kinds["adapter"], kinds["start"], kinds["first"], kinds["second"])


def check_snapshot(header: SnapshotHeader, *, base: bytes, tokenizer: bytes, layout: bytes) -> None:
    """Raises `UserMistake` naming both sides where the state belongs to something else."""
    for what, saved, here in (
        ("base model", header.base, base),
        ("tokenizer", header.tokenizer, tokenizer),
        ("form of adapter (rank, alpha, seed, start, train, mixing)", header.layout, layout),
    ):
        if saved != here:
            raise UserMistake(
                f"the saved state belongs to another {what}: {short(saved)} there, {short(here)} here; "
                f"use the configuration it was made with, or a new home folder"
            )
