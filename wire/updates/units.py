"""The units of an adapter, and the offer that says which units an update holds.

A unit is the smallest part of an adapter that is trained, sent and merged by itself: an adapted module, or one group of
attention heads. The units of a network, with the shapes of their tensors, are its `Schema`, which both sides derive
from the base model and whose fingerprint every announcement states. Peers may differ in the rank of their factors and
in the units that they hold. An `Offer` states both; it stands in the announcement and at the start of the update

    u16 rank | u16 length of the bitmap | bitmap | tensors of the offered units, in the order of the schema

(little-endian; the tensors as in `tensors.py`). Bit u of the bitmap, counted from the lowest bit of the first byte,
is set if unit u is offered; an empty bitmap stands for all units. A unit that is not offered is absent; it never
counts as zeros, which would dilute the merge by the peers that lack it.

An offer has exactly one encoding: the bitmap of all units is empty, an offer of no unit is invalid, and bits behind the
last unit are 0. The size of an update follows from its offer at the cost of a bitmap, before a signature is verified
and before a layout is built or a byte fetched.

Axis: U units of the network.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from wire.bounded import BoundedDict
from wire.digest import fingerprint_of
from wire.errors import WireError
from wire.floats import F32
from wire.updates.tensors import WIDTH, Codec, Layout, TensorSpec, check_update, decode_update, encode_update

MAX_RANK: Final = 256
MAX_UNITS: Final = 8_192
"""Most units of a network; their bitmap takes 1,024 bytes of an announcement."""

MAX_SIZES: Final = 256
"""Offers whose size a schema remembers. The answer is found once a schema and not once a process, because a simulated
world has a schema for each of its peers."""
MAX_LAYOUTS: Final = 16
"""Offers whose layout a schema remembers. Few: most neighbours offer the same units, and a layout holds the names and
shapes of all tensors."""

RANK: Final = 0
"""Placeholder in a shape for the rank of an adapter's factors."""

I64: TypeAlias = NDArray[np.int64]

_HEAD: Final = struct.Struct("<HH")


class Unit(msgspec.Struct, frozen=True, array_like=True):
    """One unit of an adapter: its name, the index of its block of the model (-1 outside all blocks), and its tensors.

    Tensors are (name, shape); `RANK` stands in a shape for the rank, at most once.
    """

    name: str
    layer: int
    tensors: tuple[tuple[str, tuple[int, ...]], ...]


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, gc=False):
    """The rank and the units of one update. `rank` is 0 where no tensor has a rank; `units` is a bitmap."""

    rank: Annotated[int, msgspec.Meta(ge=0, le=MAX_RANK)]
    units: Annotated[bytes, msgspec.Meta(max_length=MAX_UNITS // 8)] = b""


@dataclass(frozen=True, eq=False)
class Schema:
    """All units that adapters of a network may hold, in the order in which they are sent."""

    units: tuple[Unit, ...]
    codec: Codec = "bf16"
    ranked: bool = field(init=False, repr=False)
    """Whether any tensor has a rank."""
    fixed_U: I64 = field(init=False, repr=False)
    """How many numbers of each unit do not depend on the rank."""
    each_U: I64 = field(init=False, repr=False)
    """How many numbers of each unit every rank adds."""
    _sizes: BoundedDict[Offer, int] = field(init=False, repr=False)
    _layouts: BoundedDict[Offer, Layout] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.units) <= MAX_UNITS:
            raise ValueError(f"a network must have 1 to {MAX_UNITS} units, got {len(self.units)}")
        if self.codec not in WIDTH:
            raise ValueError(f"codec must be bf16 or f32, got {self.codec!r}")
        _check_names("units", [unit.name for unit in self.units])
        _check_names("tensors", [name for unit in self.units for name, _ in unit.tensors])
        counts_U2 = np.array([_count(unit) for unit in self.units], np.int64)
        object.__setattr__(self, "fixed_U", counts_U2[:, 0])
        object.__setattr__(self, "each_U", counts_U2[:, 1])
        object.__setattr__(self, "ranked", bool(counts_U2[:, 1].any()))
        object.__setattr__(self, "_sizes", BoundedDict[Offer, int](MAX_SIZES))
        object.__setattr__(self, "_layouts", BoundedDict[Offer, Layout](MAX_LAYOUTS))

    @property
    def fingerprint(self) -> bytes:
        """Digest of type, units, tensors, shapes and their order, 32 bytes; independent of ranks."""
        parts = [self.codec.encode()]
        for unit in self.units:
            # With the number of tensors, because a name and a shape could pass for the name and layer of a next unit.
            parts += [unit.name.encode(), str(unit.layer).encode(), str(len(unit.tensors)).encode()]
            for name, shape in unit.tensors:
                parts += [name.encode(), ",".join(map(str, shape)).encode()]
        return fingerprint_of("gossipllm/schema/1", parts)

    def offer(self, units: Collection[int], rank: int) -> Offer:
        """The offer of the units with these indices; `rank` is ignored where no tensor has a rank.

        Raises `ValueError` for no units, for units that do not exist, and for a rank that receivers would refuse.
        """
        if not units or not all(0 <= index < len(self.units) for index in units):
            raise ValueError(f"units must be some of 0..{len(self.units) - 1}, got {sorted(units)}")
        if self.ranked and not 1 <= rank <= MAX_RANK:
            raise ValueError(f"rank must be in 1..{MAX_RANK}, got {rank}")
        held_U = np.zeros(len(self.units), np.bool_)
        held_U[list(units)] = True
        bitmap = b"" if held_U.all() else np.packbits(held_U, bitorder="little").tobytes()
        return Offer(rank if self.ranked else 0, bitmap)

    def indices(self, offer: Offer) -> tuple[int, ...]:
        """Indices of the offered units, rising. Raises `WireError` for an offer that does not fit this network."""
        self.check(offer)
        return tuple(np.flatnonzero(self.held(offer)).tolist())

    def check(self, offer: Offer) -> None:
        """Raises `WireError` for an offer that does not fit this network or is not in its only valid encoding."""
        if not 0 <= offer.rank <= MAX_RANK:
            raise WireError("offer.rank", f"{offer.rank} is not in 0..{MAX_RANK}")
        if (offer.rank > 0) != self.ranked:
            has = "a rank" if self.ranked else "none"
            raise WireError("offer.rank", f"{offer.rank}, and tensors of this network have {has}")
        if not offer.units:
            return
        if len(offer.units) != (len(self.units) + 7) // 8:
            raise WireError("offer.units", f"{len(offer.units)} bytes for {len(self.units)} units")
        # As one integer: below 2^U - 1 means that a bit is missing and that none stands behind the last unit.
        held = int.from_bytes(offer.units, "little")
        if not 0 < held < (1 << len(self.units)) - 1:
            raise WireError("offer.units", "holds no unit, all of them or some that do not exist")

    def size(self, offer: Offer) -> int:
        """Exact size of an update in bytes. Raises `WireError`.

        Takes 20 microseconds for 8,192 units where the answer is not cached (measured).
        """
        known = self._sizes.get(offer)
        if known is None:
            known = self._sizes[offer] = self._size(offer)
        return known

    def _size(self, offer: Offer) -> int:
        self.check(offer)
        held_U = self.held(offer)
        numbers = int(self.fixed_U @ held_U) + offer.rank * int(self.each_U @ held_U)
        return _HEAD.size + len(offer.units) + numbers * WIDTH[self.codec]

    def layout(self, offer: Offer) -> Layout:
        """The tensors of an offer, in the order in which they are sent. Raises `WireError`."""
        known = self._layouts.get(offer)
        if known is None:
            known = self._layouts[offer] = Layout(tuple(self._specs(offer)), self.codec)
        return known

    def _specs(self, offer: Offer) -> Iterator[TensorSpec]:
        for index in self.indices(offer):
            for name, shape in self.units[index].tensors:
                yield TensorSpec(name, tuple(length or offer.rank for length in shape))

    def held(self, offer: Offer) -> NDArray[np.uint8]:
        """`(U,)`: 1 for each unit that is offered, 0 for the others."""
        if not offer.units:
            return np.ones(len(self.units), np.uint8)
        return np.unpackbits(np.frombuffer(offer.units, np.uint8), count=len(self.units), bitorder="little")


def encode_offered(tensors: Mapping[str, F32], schema: Schema, offer: Offer) -> bytes:
    """Encode an update: the offer, then its tensors.

    Raises `ValueError` as `encode_update` does, and for an offer that does not fit this network.
    """
    try:
        layout = schema.layout(offer)
    except WireError as error:
        raise ValueError(str(error)) from None
    return head_of(offer) + encode_update(tensors, layout)


def head_of(offer: Offer) -> bytes:
    """The bytes of an update before its tensors."""
    return _HEAD.pack(offer.rank, len(offer.units)) + offer.units


def offer_of(data: bytes, schema: Schema) -> Offer:
    """The offer at the start of an update; the tensors behind it are not checked. Raises `WireError`."""
    if len(data) < _HEAD.size:
        raise WireError("update.length", f"{len(data)} < {_HEAD.size}")
    rank, length = _HEAD.unpack_from(data)
    offer = Offer(rank, bytes(data[_HEAD.size : _HEAD.size + length]))
    if len(offer.units) != length:
        raise WireError("update.length", f"{len(data)} bytes, and {length} of bitmap")
    schema.check(offer)
    return offer


def check_offered(data: bytes, schema: Schema) -> dict[str, float]:
    """Check offer, length and finiteness of an update; return the root mean square of each tensor by name.

    Raises `WireError`.
    """
    offer, body = _split(data, schema)
    return check_update(body, schema.layout(offer))


def decode_offered(data: bytes, schema: Schema) -> tuple[Offer, dict[str, F32]]:
    """Decode an update: its offer and its tensors by name, float32, each with its own memory.

    Raises `WireError` and nothing else.
    """
    offer, body = _split(data, schema)
    return offer, decode_update(body, schema.layout(offer))


def _split(data: bytes, schema: Schema) -> tuple[Offer, memoryview]:
    """The offer of an update, and the bytes of its tensors."""
    offer = offer_of(data, schema)
    # Before the caller builds a layout, because four bytes can offer 8,192 units.
    size = schema.size(offer)
    if len(data) != size:
        raise WireError("update.length", f"{len(data)} bytes, what it offers has {size}")
    return offer, memoryview(data)[_HEAD.size + len(offer.units) :]


def _check_names(what: str, names: Collection[str]) -> None:
    twice = len(names) - len(set(names))
    if twice:
        raise ValueError(f"names of {what} must differ, {twice} of them are repeated")


def _count(unit: Unit) -> tuple[int, int]:
    """How many numbers of a unit do not depend on the rank, and how many every rank adds."""
    if unit.layer < -1 or not unit.tensors:
        raise ValueError(
            f"{unit.name} must have a layer from -1 on and tensors, got {unit.layer}, {unit.tensors}"
        )
    fixed = each = 0
    for name, shape in unit.tensors:
        if min(shape, default=1) < 0 or shape.count(RANK) > 1:
            raise ValueError(f"{name} must have lengths of at least 1 and at most one rank, got {shape}")
        numbers = prod(length for length in shape if length != RANK)
        if RANK in shape:
            each += numbers
        else:
            fixed += numbers
    return fixed, each
