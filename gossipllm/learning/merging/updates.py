"""An update: what of an adapter travels, which is the units that its author trained.

Mixing parameters takes them as they are. Mixing updates takes what they gained since
the start of the round; for that both travel, because messages carry states and never differences: a lost
message must not leave anyone with a wrong sum.

What others offer may be of another rank than one's own, and of other units; `merging.completed` makes a whole adapter
of one's own form of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gossipllm.config.choices import MIXINGS, Mixing
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.digest import fingerprint_of
from wire.errors import WireError
from wire.floats import F32
from wire.units import Offer, Schema, Unit, decode_offered, encode_offered, offer_of

_START: Final = "start/"


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What somebody offers: the pieces of its units by name (`Blueprint.cuts`), and those from which its last local
    steps began where they travel too. `units` are the offered ones, rising."""

    offer: Offer
    units: tuple[int, ...]
    state: Mapping[str, F32]
    start: Mapping[str, F32] | None


@dataclass(frozen=True, eq=False)
class UpdateFormat:
    blueprint: Blueprint
    mixing: Mixing

    @cached_property
    def schema(self) -> Schema:
        """The blueprint's units, with all that travels of each."""
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
        """32 bytes that differ by what others must have in common with this peer, by no rank and no set of modules."""
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
        offer, tensors = decode_offered(data, self.schema)
        now = {name: value for name, value in tensors.items() if not name.startswith(_START)}
        before = {name[len(_START) :]: tensors[name] for name in tensors if name.startswith(_START)}
        return Update(offer, self.schema.indices(offer), now, before or None)
