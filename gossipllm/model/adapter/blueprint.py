"""What an adapter consists of: its tensors, and the units in which they are trained, sent and merged.

All adapters of a network have one `Anatomy`: the units that the base model offers, whatever ranks and modules
peers choose. A `Blueprint` is the anatomy with one peer's choice. An adapter's *state* is whole tensors, as they
stand beside the layers; what travels of it are *pieces*, which are whole tensors too, except where heads share a
tensor: there a piece is some of its rows or columns.

Units by kind (`AdapterConfig.train`), of the modules that `adapters.py` finds:

    both, b      a linear layer: its lora_A and lora_B, or only the latter
    heads        a group of attention heads of one layer: rows of lora_B of query, key and value, columns of lora_A
                 of the projection of the output
    full, bias   a linear layer or a norm: differences of its weight and bias from the base's, or of the bias alone

No torch here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.initial import initial_state, own_start
from gossipllm.model.adapter.names import A, State
from wire.digest import fingerprint_of
from wire.floats import F32
from wire.tensors import Layout, TensorSpec
from wire.units import Offer, Schema, Unit


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece is what lies from `start` to `stop` along `axis` of a tensor of the state. The axis is never that of
    the rank."""

    piece: str
    tensor: str
    axis: int
    start: int
    stop: int

    def of(self, tensor: F32) -> F32:
        """A view."""
        return tensor[(slice(None),) * self.axis + (slice(self.start, self.stop),)]


@dataclass(frozen=True, slots=True)
class AdapterTensor:
    """One tensor of the state of an adapter that has all modules, with `RANK` in its shape where the rank stands."""

    name: str
    module: str
    layer: int
    shape: tuple[int, ...]

    def at(self, rank: int) -> TensorSpec:
        return TensorSpec(self.name, tuple(length or rank for length in self.shape))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What all adapters of a network have in common: all that a base model lets them have.

    `parts` are in the order of names; a unit's `cuts` lie at its index. Modules that are `mirrored` start with
    an A of zeros and a B that is drawn.
    """

    parts: tuple[AdapterTensor, ...]
    names: tuple[str, ...]
    cuts: tuple[tuple[Cut, ...], ...]
    layers: int
    fan_in_fan_out: bool
    mirrored: frozenset[str] = frozenset()

    @cached_property
    def by_name(self) -> Mapping[str, AdapterTensor]:
        return {part.name: part for part in self.parts}

    @cached_property
    def modules_of(self) -> tuple[frozenset[str], ...]:
        """The modules that each unit has a part of."""
        return tuple(frozenset(self.by_name[cut.tensor].module for cut in cuts) for cuts in self.cuts)

    @cached_property
    def trained(self) -> frozenset[str]:
        """The tensors that some unit has a part of."""
        return frozenset(cut.tensor for cuts in self.cuts for cut in cuts)

    @cached_property
    def schema(self) -> Schema:
        return Schema(
            tuple(
                Unit(
                    name,
                    self.by_name[cuts[0].tensor].layer,
                    tuple((cut.piece, self._shape(cut)) for cut in cuts),
                )
                for name, cuts in zip(self.names, self.cuts, strict=True)
            )
        )

    def _shape(self, cut: Cut) -> tuple[int, ...]:
        shape = self.by_name[cut.tensor].shape
        return (*shape[: cut.axis], cut.stop - cut.start, *shape[cut.axis + 1 :])


@dataclass(frozen=True, eq=False)
class Blueprint:
    """One peer's kind of adapter. Units are indices of the schema's."""

    anatomy: Anatomy
    config: AdapterConfig

    @property
    def schema(self) -> Schema:
        """The network's units: the same for every rank and every set of modules."""
        return self.anatomy.schema

    @property
    def layers(self) -> int:
        """Blocks of the model; 0 where it has none that can be told apart."""
        return self.anatomy.layers

    @property
    def fan_in_fan_out(self) -> bool:
        return self.anatomy.fan_in_fan_out

    @property
    def rank(self) -> int:
        """0 where no tensor has one."""
        return self.config.rank if self.schema.ranked else 0

    def narrowed(self, rank: int) -> Blueprint:
        """The same for adapters of a smaller rank."""
        return Blueprint(self.anatomy, replace(self.config, rank=rank))

    @property
    def scale(self) -> float:
        """What the product of the factors is multiplied by."""
        return self.scale_at(self.rank)

    def scale_at(self, rank: int) -> float:
        return self.config.alpha / rank if rank else 1.0

    @cached_property
    def own(self) -> tuple[int, ...]:
        """The units that this peer's adapter has, rising."""
        wanted = self.config.modules
        return tuple(
            index
            for index, modules in enumerate(self.anatomy.modules_of)
            if not wanted or any(named(module, one) for module in modules for one in wanted)
        )

    @cached_property
    def layout(self) -> Layout:
        """The whole state, trained or not."""
        return self._layout(self.rank)

    @cached_property
    def trained(self) -> Layout:
        """The tensors of which at least a part is trained."""
        held = tuple(spec for spec in self.layout.tensors if spec.name in self.anatomy.trained)
        return self.layout if len(held) == len(self.layout.tensors) else Layout(held, self.layout.codec)

    @property
    def frozen(self) -> State:
        """The tensors of the shared start that are never trained."""
        return self.frozen_at(self.rank)

    def frozen_at(self, rank: int) -> State:
        """Those of an adapter of this rank: of two ranks, the smaller one's are the first rows or columns of the
        larger one's. Views."""
        if rank > max(self._drawn, default=0):
            # One is kept, the largest that anybody had, whatever ranks neighbours come with.
            self._drawn.clear()
            self._drawn[rank] = self._frozen_draw(rank)
        return {
            name: value[:rank] if name.endswith(A) else value[:, :rank]
            for drawn in self._drawn.values()
            for name, value in drawn.items()
        }

    @cached_property
    def shared(self) -> State:
        """The start that the public seed gives to everybody."""
        return initial_state(self.layout, self.config.seed, mirrored=self.anatomy.mirrored)

    @property
    def offer(self) -> Offer:
        """Everything that this peer's adapter has."""
        return self.schema.offer(self.own, self.rank)

    @property
    def fingerprint(self) -> bytes:
        """32 bytes: units, scale and initial A, by no rank. Equal shapes with another scale are other updates."""
        config = self.config
        parts = [self.schema.fingerprint, repr(float(config.alpha)).encode(), config.seed.encode()]
        # Only where they are not what they always were, so that a new kind renames no network.
        parts += [word.encode() for word in (config.start, config.train) if word not in ("shared", "both")]
        return fingerprint_of("gossipllm/adapter/2", parts)

    def start(self, seed: int) -> dict[str, F32]:
        """A fresh adapter; `seed` is the peer's own and counts only where each peer draws its own A."""
        if self.config.start == "own":
            return own_start(self.layout, seed)
        return {name: value.copy() for name, value in self.shared.items()}

    # -- units --------------------------------------------------------------------------------------

    def units_of(self, bitmap: bytes) -> tuple[int, ...]:
        """The own units among those of a bitmap of the network's, all own ones where it is empty.

        Raises `WireError` where it is no bitmap of this network.
        """
        offered = set(self.schema.indices(Offer(self.rank, bitmap)))
        return tuple(index for index in self.own if index in offered)

    def units_in(self, first: int, count: int) -> tuple[int, ...]:
        """The own units of the blocks from `first` on, and those of no block."""
        window = (-1, *range(first, first + count))
        return tuple(index for index in self.own if self.schema.units[index].layer in window)

    def cuts(self, units: Iterable[int]) -> tuple[Cut, ...]:
        return tuple(cut for index in units for cut in self.anatomy.cuts[index])

    def layer_of(self, tensor: str) -> int:
        """The index of the block that a tensor lies in, -1 for none."""
        return self.anatomy.by_name[tensor].layer

    def tensors_of(self, units: Iterable[int]) -> tuple[str, ...]:
        """The trained tensors that these units have a part of, in the layout's order."""
        touched = {cut.tensor for cut in self.cuts(units)}
        return tuple(spec.name for spec in self.layout.tensors if spec.name in touched)

    def masks_of(self, units: Collection[int]) -> dict[str, F32] | None:
        """Of each of `tensors_of(units)`, 1 where it belongs to one of the units and 0 elsewhere; None where all is
        1."""
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
        """What of a state belongs to these units, as views."""
        return {cut.piece: cut.of(state[cut.tensor]) for cut in self.cuts(units)}

    def placed(self, pieces: Mapping[str, F32], units: Iterable[int], state: State) -> dict[str, F32]:
        """`state` with the pieces of these units in the place of its own; it shares the tensors that none touches."""
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
        return Layout(tuple(part.at(rank) for part in self.anatomy.parts if part.module in self._own_modules))


def named(module: str, name: str) -> bool:
    """Whether the last parts of a module's name are `name`."""
    return module == name or module.endswith(f".{name}")
