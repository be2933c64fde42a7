"""Adapters of a toy network: `DIMENSION` numbers, their units, and their encoding as bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from gossipllm.config.choices import Missing
from wire.digest import Content, fingerprint_of
from wire.messages import Fingerprints
from wire.predictions.byte_rows import ByteRows, ByteShape, encode_byte_rows
from wire.predictions.logits import RowsShape, SparseRows, encode_rows
from wire.updates.units import RANK, Offer, Schema, Unit

Vector: TypeAlias = tuple[float, ...]
Held: TypeAlias = tuple[float | None, ...]
"""The numbers of an adapter, None for each that a peer does not offer."""
Form: TypeAlias = Literal["whole", "split", "ranked"]

DIMENSION = 4
CONTEXT_BYTES = 128
ROWS = RowsShape(rows=1, top=1, vocabulary=2)
EVIDENCE = Content.of(
    encode_rows(
        SparseRows(
            np.zeros((1, 1), np.uint32), np.log(np.full((1, 1), 0.5, np.float32)), np.full(1, 0.5, np.float32)
        ),
        ROWS,
    )
)
BYTE_SHAPE = ByteShape(offsets=1, spans=0)
BYTE_ROWS = Content.of(
    encode_byte_rows(
        ByteRows(
            np.zeros(1, np.int64),
            np.arange(BYTE_SHAPE.top, dtype=np.uint32)[None],
            np.log(np.full((1, BYTE_SHAPE.top), 0.5 / BYTE_SHAPE.top, np.float32)),
            np.full(1, 0.5, np.float32),
            np.zeros(0, np.float32),
        ),
        BYTE_SHAPE,
    )
)

_WHOLE = struct.Struct(f"<HH{DIMENSION}f")
"""An update with all numbers and without a rank, as most worlds exchange."""
_HEAD = struct.Struct("<HH")


def _schema(form: Form) -> Schema:
    if form == "whole":
        return Schema((Unit("w", 0, (("w", (DIMENSION,)),)),), "f32")
    shape = (RANK,) if form == "ranked" else (1,)
    return Schema(tuple(Unit(f"w{n}", n, ((f"w{n}", shape),)) for n in range(DIMENSION)), "f32")


SCHEMAS: Final[dict[Form, Schema]] = {
    "whole": _schema("whole"),
    "split": _schema("split"),
    "ranked": _schema("ranked"),
}


def fingerprints(base: str = "toy", form: Form = "whole") -> Fingerprints:
    """Of a base with this name. What stands before a colon in it names a tokenizer: `tongue:base`."""
    tongue = base.partition(":")[0] if ":" in base else ""
    return Fingerprints(
        base=fingerprint_of("toy/base", [base.encode()]),
        tokenizer=fingerprint_of("toy/tokenizer", [tongue.encode()] if tongue else []),
        reference=fingerprint_of("toy/reference", []),
        layout=SCHEMAS[form].fingerprint,
    )


def context_key(first: int) -> bytes:
    """Key of the context for the block window that begins at block `first`."""
    return fingerprint_of("toy/context", [str(first).encode()])


def whole_bytes(w: Sequence[float]) -> bytes:
    return _WHOLE.pack(0, 0, *w)


def whole_vector(data: bytes) -> Vector:
    return _WHOLE.unpack(data)[2:]


def part_bytes(w: Sequence[float], units: Sequence[int], offer: Offer) -> bytes:
    """An update with these units, each number repeated `rank` times."""
    numbers = [w[n] for n in units for _ in range(offer.rank or 1)]
    head = _HEAD.pack(offer.rank, len(offer.units)) + offer.units
    return head + struct.pack(f"<{len(numbers)}f", *numbers)


def part_vector(data: bytes) -> Held:
    rank, length = _HEAD.unpack_from(data)
    body = _HEAD.size + length
    bitmap = int.from_bytes(data[_HEAD.size : body], "little") if length else -1
    numbers = iter(struct.unpack_from(f"<{(len(data) - body) // 4}f", data, body)[:: rank or 1])
    return tuple(next(numbers) if bitmap >> n & 1 else None for n in range(DIMENSION))


def merged(
    row: Sequence[float],
    now: Vector,
    held_by: Sequence[Held],
    missing: Missing,
) -> Vector:
    """The merge by `row`, number by number over the peers that offer it.

    `held_by` has for each number this peer's value and then the others'. A number that no peer offers stays as `now`.
    """
    result: list[float] = []
    for own, numbers in zip(now, held_by, strict=True):
        mine = own if missing == "kept" else numbers[0]
        held = [
            (weight, number)
            for weight, number in zip(row, (mine, *numbers[1:]), strict=True)
            if number is not None
        ]
        whole = math.fsum(weight for weight, _ in held)
        if not whole:
            result.append(own)
        elif missing != "self":
            result.append(math.fsum(weight / whole * number for weight, number in held))
        else:
            result.append(math.fsum(weight * number for weight, number in held) + (1 - whole) * own)
    return tuple(result)
