"""The structure of one peer's adapter: its tensors, and the units in which they are trained, sent and merged.

All adapters of a network share one `Anatomy`: the units that the base model has, for all ranks and modules that peers
may choose. A `Blueprint` is the anatomy with one peer's choice. An adapter's *state* is whole tensors, one or more for
each site. Updates carry *pieces*: whole tensors too, except where the heads of a layer share a tensor; there a piece is
some rows or columns of it.

No torch here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gossipllm.config import AdapterConfig
from gossipllm.config.choices import TRAINS
from gossipllm.model.adapter.anatomy import Anatomy, Cut
from gossipllm.model.adapter.initial import initial_state, own_start
from gossipllm.model.adapter.names import A, B, State
from wire.digest import fingerprint_of
from wire.floats import F32
from wire.updates.tensors import Layout
from wire.updates.units import Offer, Schema


@dataclass(frozen=True, eq=False)
class Blueprint:
    """The structure of one peer's adapter. Units are given as their indices in the schema."""

    anatomy: Anatomy
    config: AdapterConfig

    @property
    def schema(self) -> Schema:
        """The network's units: the same for every rank and every set of modules."""
        return self.anatomy.schema

    @property
    def layers(self) -> int:
        """The number of blocks of the model; 0 where no list of blocks was found."""
        return self.anatomy.layers

    @property
    def fan_in_fan_out(self) -> bool:
        return self.anatomy.fan_in_fan_out

    @property
    def rank(self) -> int:
        """The rank of the factors; 0 where no tensor has a rank."""
        return self.config.rank if self.schema.ranked else 0

    def narrowed(self, rank: int) -> Blueprint:
        """The blueprint of adapters of a smaller rank and otherwise equal."""
        return Blueprint(self.anatomy, replace(self.config, rank=rank))

    def doubled(self) -> Blueprint:
        """The blueprint of two such adapters beside each other as one of twice the rank, with the same scale."""
        config, rank = self.config, 2 * self.config.rank
        both = replace(config, rank=rank, most_rank=max(rank, config.most_rank), alpha=2 * config.alpha)
        return Blueprint(self.anatomy, both)

    @property
    def scale(self) -> float:
        """The factor of the product B A."""
        return self.scale_at(self.rank)

    def scale_at(self, rank: int) -> float:
        return self.config.alpha / rank if rank else 1.0

    @cached_property
    def own(self) -> tuple[int, ...]:
        """The units of this peer's adapter, ascending."""
        wanted = self.config.named_modules
        return tuple(
            index
            for index, modules in enumerate(self.anatomy.modules_of)
            if not wanted or any(named(module, one) for module in modules for one in wanted)
        )

    @cached_property
    def layout(self) -> Layout:
        """The layout of the whole state: trained tensors and frozen ones."""
        return self._layout(self.rank)

    @cached_property
    def trained(self) -> Layout:
        """The layout of the tensors that are trained, at least some of their rows or columns."""
        held = tuple(spec for spec in self.layout.tensors if spec.name in self.anatomy.trained)
        return self.layout if len(held) == len(self.layout.tensors) else Layout(held, self.layout.codec)

    @property
    def frozen(self) -> State:
        """The tensors of the shared start that are never trained."""
        return self.frozen_at(self.rank)

    def frozen_at(self, rank: int) -> State:
        """The frozen tensors of an adapter of this rank, as views: those of a smaller rank are the first rows or
        columns of those of a larger rank (`initial_state`)."""
        if rank > max(self._drawn, default=0):
            # Only the draw of the largest rank so far is kept, so that neighbours of many ranks cost no memory.
            self._drawn.clear()
            self._drawn[rank] = self._frozen_draw(rank)
        return {
            name: value[:rank] if name.endswith(A) else value[:, :rank]
            for drawn in self._drawn.values()
            for name, value in drawn.items()
        }

    @cached_property
    def shared(self) -> State:
        """The initial adapter, which the public seed gives to all peers."""
        return initial_state(self.layout, self.config.seed, mirrored=self.anatomy.mirrored)

    @property
    def offer(self) -> Offer:
        """The offer of all units of this peer's adapter."""
        return self.schema.offer(self.own, self.rank)

    @property
    def fingerprint(self) -> bytes:
        """32 bytes: units, scale and initial A, independent of the rank. Updates of equal shapes with another scale are
        different updates."""
        config = self.config
        parts = [self.schema.fingerprint, repr(float(config.alpha)).encode(), config.seed.encode()]
        # Only where they differ from the first version's values, so that networks of that version keep their
        # fingerprint.
        parts += [word.encode() for word in (config.start, config.train) if word not in ("shared", "both")]
        return fingerprint_of("gossipllm/adapter/2", parts)

    def start(self, seed: int) -> dict[str, F32]:
        """A fresh adapter. `seed` is the peer's own; it is used only where each peer draws its own A."""
        if self.config.start == "own":
            return own_start(self.layout, seed)
        return {name: value.copy() for name, value in self.shared.items()}

    # -- units --------------------------------------------------------------------------------------

    def units_of(self, bitmap: bytes) -> tuple[int, ...]:
        """The units of this peer's adapter that `bitmap` names; all of them where it is empty.

        Raises `WireError` where it is not a bitmap of this network's units.
        """
        offered = set(self.schema.indices(Offer(self.rank, bitmap)))
        return tuple(index for index in self.own if index in offered)

    def in_turn(self, units: Collection[int], round_number: int) -> tuple[int, ...]:
        """Those of `units` whose turn it is: where a factor is a unit of its own, B in even rounds, because A has no
        gradient while B is zero, and A in odd ones."""
        if not TRAINS[self.config.train].units_by_factor:
            return tuple(units)
        turn = A if round_number % 2 else B
        return tuple(unit for unit in units if self.anatomy.names[unit].endswith(turn))

    def units_in(self, first: int, count: int) -> tuple[int, ...]:
        """The units of this peer's adapter in `count` blocks from `first` on, and those in no block."""
        blocks = (-1, *range(first, first + count))
        return tuple(index for index in self.own if self.schema.units[index].layer in blocks)

    def cuts(self, units: Iterable[int]) -> tuple[Cut, ...]:
        return tuple(cut for index in units for cut in self.anatomy.cuts[index])

    def layer_of(self, tensor: str) -> int:
        """The index of a tensor's block, -1 for tensors in no block."""
        return self.anatomy.by_name[tensor].layer

    def tensors_of(self, units: Iterable[int]) -> tuple[str, ...]:
        """The tensors in which these units have pieces, in the layout's order."""
        touched = {cut.tensor for cut in self.cuts(units)}
        return tuple(spec.name for spec in self.layout.tensors if spec.name in touched)

    def masks_of(self, units: Collection[int]) -> dict[str, F32] | None:
        """For each of `tensors_of(units)` an array of 1 in the units' pieces and 0 elsewhere; None where all are 1."""
        touched = {cut.tensor for cut in self.cuts(units)}
        masks = {
            spec.name: np.zeros(spec.shape, np.float32)
            for spec in self.layout.tensors
            if spec.name in touched
        }
        for cut in self.cuts(units):
            cut.of(masks[cut.tensor])[...] = 1
        return None if all(mask.all() for mask in masks.values()) else masks

    def pieces(self, state: State, units: Iterable[int]) -> dict[str, F32]:
        """The pieces of these units in a state, as views."""
        return {cut.piece: cut.of(state[cut.tensor]) for cut in self.cuts(units)}

    def placed(self, pieces: Mapping[str, F32], units: Iterable[int], state: State) -> dict[str, F32]:
        """`state` with the pieces of these units replaced. Tensors without such pieces are shared with `state`."""
        whole = dict(state)
        touched: set[str] = set()
        for cut in self.cuts(units):
            if cut.tensor not in touched:
                touched.add(cut.tensor)
                whole[cut.tensor] = whole[cut.tensor].copy()
            cut.of(whole[cut.tensor])[...] = pieces[cut.piece]
        return whole

    @cached_property
    def _drawn(self) -> dict[int, State]:
        return {}

    def _frozen_draw(self, rank: int) -> State:
        layout = self._layout(rank)
        held = tuple(spec for spec in layout.tensors if spec.name not in self.anatomy.trained)
        return initial_state(Layout(held, layout.codec), self.config.seed, mirrored=self.anatomy.mirrored)

    @cached_property
    def _own_modules(self) -> frozenset[str]:
        return frozenset[str]().union(*(self.anatomy.modules_of[index] for index in self.own))

    def _layout(self, rank: int) -> Layout:
        return Layout(
            tuple(tensor.at(rank) for tensor in self.anatomy.tensors if tensor.module in self._own_modules)
        )


def named(module: str, name: str) -> bool:
    """Whether a module's dotted name is `name` or ends with it."""
    return module == name or module.endswith(f".{name}")
