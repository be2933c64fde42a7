"""Adapter tensors to bytes and back: nothing on the wire but numbers.

The tensors of an update are concatenated, in layout order, each one's values in row-major order,
little-endian, as bfloat16 (two bytes, round to nearest even) or float32. Names, shapes and type are
not sent: they are the layout, which both sides derive from the base model and from what the update says it
holds (`units.py`). Bytes of any other length than the layout implies are refused before they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, prod, sqrt
from typing import Literal

import numpy as np

from wire.digest import fingerprint_of
from wire.errors import WireError
from wire.floats import F32, Bits, bf16_bits, bf16_values, count_non_finite

Codec = Literal["bf16", "f32"]

WIDTH: dict[Codec, int] = {"bf16": 2, "f32": 4}
"""Bytes of a number."""
_SMALLEST_SUM = 1e-30
"""Above this, no square that matters to a sum of squares was lost below float32's range."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of an adapter: its name, its shape, and of how many numbers it is."""

    name: str
    shape: tuple[int, ...]
    count: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if any(length < 1 for length in self.shape):
            raise ValueError(f"{self.name} must have lengths of at least 1, got {self.shape}")
        object.__setattr__(self, "count", prod(self.shape))


@dataclass(frozen=True, slots=True)
class Layout:
    """The adapter's tensors in the order in which they travel, and the type in which they do.

    `count` is the number of parameters, `size` the bytes of an update, exactly. Both are looked up for every
    update that comes, so they are computed once.
    """

    tensors: tuple[TensorSpec, ...]
    codec: Codec = "bf16"
    count: int = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.codec not in WIDTH:
            raise ValueError(f"codec must be bf16 or f32, got {self.codec!r}")
        twice = len(self.tensors) - len({spec.name for spec in self.tensors})
        if twice:
            raise ValueError(f"names of tensors must differ, {twice} of them are repeated")
        object.__setattr__(self, "count", sum(spec.count for spec in self.tensors))
        object.__setattr__(self, "size", self.count * WIDTH[self.codec])

    @property
    def fingerprint(self) -> bytes:
        """32 bytes; differs where a name, a shape, the order or the type differs."""
        parts = [self.codec.encode()]
        for spec in self.tensors:
            parts.append(spec.name.encode())
            parts.append(",".join(map(str, spec.shape)).encode())
        return fingerprint_of("gossipllm/layout/1", parts)


def encode_update(tensors: Mapping[str, F32], layout: Layout) -> bytes:
    """The update blob, `layout.size` bytes.

    Raises `ValueError` where a tensor is missing, has another shape or is not finite in the wire's
    type: what we send must be what others accept.
    """
    parts: list[bytes] = []
    for spec in layout.tensors:
        if spec.name not in tensors:
            raise ValueError(f"{spec.name} is missing")
        values = np.asarray(tensors[spec.name], dtype=np.float32, order="C")
        if values.shape != spec.shape:
            raise ValueError(f"{spec.name} must have shape {spec.shape}, got {values.shape}")
        raw = bf16_bits(values) if layout.codec == "bf16" else values.astype("<f4").view("<u4")
        if count_non_finite(raw):
            raise ValueError(f"{spec.name} holds numbers that are not finite in {layout.codec}")
        parts.append(raw.tobytes())
    return b"".join(parts)


def check_update(data: bytes | memoryview, layout: Layout) -> dict[str, float]:
    """Root mean square of each tensor, by name, after length and finiteness have been checked.

    Allocates one tensor at a time; 0.1 to 0.2 ms for a million parameters, measured. Raises
    `WireError` naming the tensor. One pass finds both: a sum of squares is finite only if every value is.
    """
    norms: dict[str, float] = {}
    for spec, bits in _pieces(data, layout):
        flat = _floats(bits)
        # Not np.dot, which warns of what overflows: that costs more than a small tensor does.
        total = float(np.vdot(flat, flat))
        if not _SMALLEST_SUM < total < inf:
            # Not a number, or values whose squares float32 cannot hold: both take a closer look.
            _check_finite(spec, bits)
            total = float(np.einsum("i,i->", flat, flat, dtype=np.float64))
        norms[spec.name] = sqrt(total / flat.size)
    return norms


def decode_update(data: bytes | memoryview, layout: Layout) -> dict[str, F32]:
    """Tensors by name, float32, each owning its memory. Raises `WireError` and nothing else."""
    tensors: dict[str, F32] = {}
    for spec, bits in _pieces(data, layout):
        _check_finite(spec, bits)
        tensors[spec.name] = np.array(_floats(bits)).reshape(spec.shape)
    return tensors


def _pieces(data: bytes | memoryview, layout: Layout) -> Iterator[tuple[TensorSpec, Bits]]:
    if len(data) != layout.size:
        raise WireError("update.length", f"{len(data)} bytes, the layout has {layout.size}")
    raw = np.frombuffer(data, dtype="<u2" if layout.codec == "bf16" else "<u4")
    at = 0
    for spec in layout.tensors:
        yield spec, raw[at : at + spec.count]
        at += spec.count


def _check_finite(spec: TensorSpec, bits: Bits) -> None:
    bad = count_non_finite(bits)
    if bad:
        raise WireError(f"update.{spec.name}", f"{bad} values are not finite")


def _floats(bits: Bits) -> F32:
    """The values, in memory that may be the blob's own."""
    if bits.dtype.itemsize == WIDTH["bf16"]:
        return bf16_values(bits)
    return bits.view("<f4").astype(np.float32, copy=False)
