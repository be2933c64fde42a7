"""An update: the part of an adapter that travels, which is the units that its author trained.

Mixing parameters takes the units as they are. Mixing updates takes what they gained since the start of the round; for
that, start and end both travel, because messages carry states and never differences: a lost message must not leave
a receiver with a wrong sum.

A neighbour's update may have another rank and other units than this peer's adapter; `stack.completed` makes a whole
adapter of this peer's form from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gossipllm.config.choices import MIXINGS, TRAINS, Mixing
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.digest import fingerprint_of
from wire.errors import WireError
from wire.floats import F32
from wire.updates.units import Offer, Schema, Unit, decode_offered, encode_offered, offer_of

_START: Final = "start/"


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """A decoded update: the pieces of its units by name (`Blueprint.cuts`), and the pieces from which the author's last
    local steps began where they travel too. `units` are the offered ones, in rising order."""

    offer: Offer
    units: tuple[int, ...]
    state: Mapping[str, F32]
    start: Mapping[str, F32] | None


@dataclass(frozen=True, eq=False)
class UpdateFormat:
    """Encodes and decodes updates of one blueprint and one way of mixing."""

    blueprint: Blueprint
    mixing: Mixing

    @cached_property
    def schema(self) -> Schema:
        """The blueprint's units, with every tensor that travels of each."""
        schema = self.blueprint.schema
        if not MIXINGS[self.mixing].sends_start:
            return schema
        doubled = [
            Unit(
                unit.name,
                unit.layer,
                (*unit.tensors, *((_START + name, shape) for name, shape in unit.tensors)),
            )
            for unit in schema.units
        ]
        return Schema(tuple(doubled), schema.codec)

    @cached_property
    def fingerprint(self) -> bytes:
        """32 bytes that are equal where updates can be exchanged: they depend on neither rank nor set of modules."""
        if self.mixing == "parameters":
            return self.blueprint.fingerprint
        return fingerprint_of(f"gossipllm/{self.mixing}/1", [self.blueprint.fingerprint])

    def encoded(self, state: State, start: State, units: Collection[int]) -> bytes:
        """The update that offers these units of the own ones. Raises `ValueError` where a number is not finite."""
        tensors = self.blueprint.pieces(state, units)
        if MIXINGS[self.mixing].sends_start:
            before = self.blueprint.pieces(start, units)
            tensors |= {_START + name: value for name, value in before.items()}
        return encode_offered(tensors, self.schema, self.schema.offer(units, self.blueprint.rank))

    def decoded(self, data: bytes) -> Update:
        """Raises `WireError`."""
        most = self.blueprint.config.most_rank
        rank = offer_of(data, self.schema).rank
        if rank > most:
            raise WireError("offer.rank", f"{rank}, and adapter.most_rank here is {most}")
        form = self.blueprint.config
        if rank != form.rank and not TRAINS[form.train].sends_products:
            raise WireError(
                "offer.rank",
                f'{rank} is not adapter.rank here ({form.rank}), which adapter.train = "{form.train}" needs',
            )
        offer, tensors = decode_offered(data, self.schema)
        now = {name: value for name, value in tensors.items() if not name.startswith(_START)}
        before = {name[len(_START) :]: tensors[name] for name in tensors if name.startswith(_START)}
        return Update(offer, self.schema.indices(offer), now, before or None)
