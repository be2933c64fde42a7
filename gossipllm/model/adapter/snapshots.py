"""Snapshots: the state from which a learner resumes, as bytes.

    "GLS1" | u32 header length | header (MessagePack map) | safetensors

The safetensors part holds float32 tensors: `adapter/<name>`; `start/<name>`, the state before the last local steps,
where it is needed; `first/<name>` and `second/<name>`, the moments of AdamW for the tensors that were trained, once
there was a step. Where mixing is by push-sum it also holds the integers of `mass/<name>`, with outer momentum
`outer/<name>`, and where adapters are averaged over rounds `average/<name>`. Where updates travel packed, the bytes
`announced/update` are the last one. No torch here, so that an adapter can be exported without loading a model.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gossipllm.config.choices import Scaling, Train
from trust.errors import UserMistake
from wire.digest import short
from wire.floats import F32
from wire.updates.tensors import Layout

_MAGIC: Final = b"GLS1"
_PREFIX: Final = struct.Struct("<4sI")


class LeastOwn(msgspec.Struct, frozen=True, kw_only=True):
    """The least loss on the own trust windows, in nats per token, that a learner had so far, and the digest of these
    windows (`gossipllm.learning.measuring.own_text`)."""

    loss: float
    windows: bytes


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot's tensors belong to. `layout` is the fingerprint of updates (units, scale, start, mixing).

    `rank` and `alpha` are those of the whole adapter; `rank` is 0 where adapters have no rank. `units` is the bitmap of
    the units that the last local steps trained, empty for all; the moments are of these units and began at step
    `since`. `tokens` and `samples` are the counts in the mass of push-sum. `gates` are those of the second of two
    adapters (`gossipllm.learning.composition.parts`), `moved_round` is the round of the last outer step, and `averaged`
    the number of adapters in the average. `scaling` is how local steps scale the product; the adapter here is always at
    alpha / rank. `exponents` are those of the steps of the last announced update. `least_own` is unset where it was not
    measured.
    """

    base: bytes
    tokenizer: bytes
    layout: bytes
    model_name: str
    rank: int
    alpha: float
    dropout: float = 0.0
    train: Train = "both"
    fan_in_fan_out: bool
    round: int
    steps: int
    since: int = 0
    units: bytes = b""
    tokens: int = 0
    samples: int = 0
    gates: tuple[float, ...] = ()
    moved_round: int = 0
    averaged: int = 0
    scaling: Scaling = "standard"
    exponents: tuple[int, ...] = ()
    least_own: LeastOwn | UnsetType = UNSET


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A learner's state. `start` is the adapter before the last local steps, `first` and `second` are AdamW's moments,
    `mass` belongs to push-sum, `outer` is the momentum of merges, `average` that of adapters after local steps, and
    `announced` the last announced update; each may be empty."""

    header: SnapshotHeader
    adapter: Mapping[str, F32]
    start: Mapping[str, F32]
    first: Mapping[str, F32]
    second: Mapping[str, F32]
    mass: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    outer: Mapping[str, F32] = field(default_factory=dict[str, F32])
    average: Mapping[str, F32] = field(default_factory=dict[str, F32])
    announced: bytes = b""


def encode_snapshot(snapshot: Snapshot) -> bytes:
    header = msgspec.msgpack.encode(snapshot.header)
    kinds: dict[str, Mapping[str, NDArray[Any]]] = {
        "adapter": snapshot.adapter,
        "start": snapshot.start,
        "first": snapshot.first,
        "second": snapshot.second,
        "mass": snapshot.mass,
        "outer": snapshot.outer,
        "average": snapshot.average,
        "announced": {"update": np.frombuffer(snapshot.announced, np.uint8)} if snapshot.announced else {},
    }
    tensors = {
        f"{kind}/{name}": np.ascontiguousarray(values)
        for kind, held in kinds.items()
        for name, values in held.items()
    }
    return b"".join((_PREFIX.pack(_MAGIC, len(header)), header, save(tensors)))


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot in these bytes. Raises `UserMistake` where they are none."""
    try:
        magic, length = _PREFIX.unpack_from(data)
        end = _PREFIX.size + length
        header = msgspec.msgpack.decode(data[_PREFIX.size : end], type=SnapshotHeader)
        tensors = load(data[end:])
    except (struct.error, ValueError, msgspec.DecodeError, SafetensorError) as error:
        raise UserMistake(f"the saved state is no snapshot of this program: {error}") from None
    if magic != _MAGIC:
        raise UserMistake("the saved state is no snapshot of this program: it does not begin like one")
    kinds: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in tensors.items():
        kind, _, rest = name.partition("/")
        kinds.setdefault(kind, {})[rest] = values
    adapter, start, first, second, mass, outer, average, announced = (
        kinds.get(kind, {})
        for kind in ("adapter", "start", "first", "second", "mass", "outer", "average", "announced")
    )
    update = announced["update"].tobytes() if "update" in announced else b""
    return Snapshot(header, adapter, start, first, second, mass, outer, average, update)


def check_snapshot(
    snapshot: Snapshot, *, base: bytes, tokenizer: bytes, layout: bytes, state: Layout
) -> None:
    """Raises `UserMistake` where the snapshot belongs to another base, tokenizer or form of adapter, naming both.
    `state` is the layout of this peer's adapters."""
    header = snapshot.header
    for what, saved, here in (
        ("base model", header.base, base),
        ("tokenizer", header.tokenizer, tokenizer),
        ("form of adapter (alpha, seed, start, train, mixing)", header.layout, layout),
    ):
        if saved != here:
            raise UserMistake(
                f"the saved state belongs to another {what}: {short(saved)} there, {short(here)} here; "
                f"use the configuration it was made with, or a new home folder"
            )
    shapes = {spec.name: spec.shape for spec in state.tensors}
    if {name: value.shape for name, value in snapshot.adapter.items()} != shapes:
        raise UserMistake(
            f"the saved state is of an adapter of rank {header.rank} with {len(snapshot.adapter)} tensors, which is "
            f"not what adapter.rank and adapter.modules now say ({len(shapes)} tensors); "
            f"use the configuration it was made with, or a new home folder"
        )
