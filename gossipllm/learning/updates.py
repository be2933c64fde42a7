"""An update: what of an adapter travels, as tensors in one layout.

Mixing parameters takes the adapter's trained tensors as they are. Mixing updates takes what they gained since
the start of the round; for that both travel, because messages carry states and never differences: a lost
message must not leave anyone with a wrong sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from gossipllm.model.adapters import Blueprint
from gossipllm.model.names import State
from wire.digest import fingerprint_of
from wire.floats import F32
from wire.tensors import Layout, TensorSpec, decode_update, encode_update

_START: Final = "start/"


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """A whole adapter, and the one from which its last local steps began where that travels too."""

    state: State
    start: State | None


@dataclass(frozen=True)
class UpdateFormat:
    blueprint: Blueprint
    mixing: Literal["parameters", "updates"]

    @cached_property
    def layout(self) -> Layout:
        trained = self.blueprint.trained
        if self.mixing == "parameters":
            return trained
        starts = tuple(TensorSpec(_START + spec.name, spec.shape) for spec in trained.tensors)
        return Layout((*trained.tensors, *starts), trained.codec)

    @property
    def fingerprint(self) -> bytes:
        if self.mixing == "parameters":
            return self.blueprint.fingerprint
        return fingerprint_of("gossipllm/updates/1", [self.blueprint.fingerprint])

    def encoded(self, state: State, start: State) -> bytes:
        """Raises `ValueError` where a number is not finite."""
        starts = {_START + name: value for name, value in start.items()}
        return encode_update({**state, **starts}, self.layout)

    def decoded(self, data: bytes) -> Update:
        """Raises `WireError`."""
        tensors = decode_update(data, self.layout)
        now = {name: value for name, value in tensors.items() if not name.startswith(_START)}
        before = {name[len(_START) :]: tensors[name] for name in tensors if name.startswith(_START)}
        return Update(self._whole(now), self._whole(before) if before else None)

    def _whole(self, trained: Mapping[str, F32]) -> State:
        """In layout order, with what everybody has where it is frozen."""
        if len(trained) == len(self.blueprint.layout.tensors):
            return trained
        whole = {**self.blueprint.shared, **trained}
        return {spec.name: whole[spec.name] for spec in self.blueprint.layout.tensors}
