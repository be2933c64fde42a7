"""The tensors and units that adapters on a base model can have, the same for all peers of a network.

Units by kind (`AdapterConfig.train`), of the modules that `placement.py` finds:

    both, b      a linear layer: its lora_A and lora_B, or only lora_B
    share-a      a linear layer: its lora_A; its lora_B is trained too and belongs to no unit
    alternate    one factor of a linear layer
    heads        a group of attention heads of one layer: rows of lora_B of query, key and value, columns of lora_A
                 of the projection of the output
    full, bias   a linear layer or a norm: differences of its weight and bias from the base's, or of the bias alone
    all          as full, and the token embeddings with a head that is tied to them

No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from wire.floats import F32
from wire.updates.tensors import TensorSpec
from wire.updates.units import Schema, Unit


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a tensor of the state: indices `start` to `stop` along `axis`. The axis is never the rank's, whose
    length differs between peers."""

    piece: str
    tensor: str
    axis: int
    start: int
    stop: int

    def of(self, tensor: F32) -> F32:
        """The piece of `tensor`, as a view."""
        return tensor[(slice(None),) * self.axis + (slice(self.start, self.stop),)]


@dataclass(frozen=True, slots=True)
class AdapterTensor:
    """A tensor of an adapter on all modules. In `shape`, `RANK` takes the place of the rank."""

    name: str
    module: str
    layer: int
    shape: tuple[int, ...]

    def at(self, rank: int) -> TensorSpec:
        return TensorSpec(self.name, tuple(length or rank for length in self.shape))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The tensors and units that adapters on a base model can have, the same for all peers of a network.

    `tensors` are in the order of their names; `names` and `cuts` are the units' names and pieces, by unit index.
    Modules that are `mirrored` start with an A of zeros and a B that is drawn. Tensors that are `kept` are trained and
    never sent.
    """

    tensors: tuple[AdapterTensor, ...]
    names: tuple[str, ...]
    cuts: tuple[tuple[Cut, ...], ...]
    layers: int
    fan_in_fan_out: bool
    mirrored: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    @cached_property
    def by_name(self) -> Mapping[str, AdapterTensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    @cached_property
    def modules_of(self) -> tuple[frozenset[str], ...]:
        """The modules in which each unit has pieces, by unit index."""
        return tuple(frozenset(self.by_name[cut.tensor].module for cut in cuts) for cuts in self.cuts)

    @cached_property
    def trained(self) -> frozenset[str]:
        """The names of the tensors in which some unit has a piece, and of those that are kept."""
        return self.kept | frozenset(cut.tensor for cuts in self.cuts for cut in cuts)

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
