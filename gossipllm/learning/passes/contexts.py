"""The models that parts of adapters are trained within, for one base: made when first asked for, a few of them kept.

For windows of blocks, contexts in which the others are compressed (`gossipllm.model.contexts`); for heads, the base
without those of others (`gossipllm.model.subnets`). Learners on one base share them, so that those who train the same
part go through one model together. Each shares with the base all that is not changed.

A learner alone in its process has no such copies in 8 or 4 bits: its base itself is held so, and training opens the
window in it (`gossipllm.model.contexts.packed_base`). Learners that share a base train windows side by side, each of
which must be packed for the others, so there the base stays whole beside the copies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

import torch

from gossipllm.config import LayersConfig
from gossipllm.config.choices import ContextOperator
from gossipllm.learning.jobs import ContextModel
from gossipllm.model.blocks import blocks_of
from gossipllm.model.contexts.compressed import compressed
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.distilled import distil
from gossipllm.model.contexts.encoding import (
    context_key,
    decode_context,
    encode_context,
    fitted_shapes,
    most_bytes,
)
from gossipllm.model.contexts.fidelity import fidelity
from gossipllm.model.contexts.packed_base import HeldPacked
from gossipllm.model.loading.models import Base
from gossipllm.model.subnets import subnet
from gossipllm.text.reference import ReferenceSet
from gossipllm.work import MadeContext
from trust.errors import UserMistake
from wire.digest import Content
from wire.errors import WireError

HELD: Final = 8
"""Models kept where no budget of memory is given. Guess: a simulation's peers draw windows of their own."""
_CHECKED_WINDOWS: Final = 8
"""Windows of the reference set on which a fetched context is held against dropping blocks. Guess."""
NEAR_NATS: Final = 0.01
"""A fetched context is near enough here, whatever leaving blocks out would give. Guess."""

OnDistil = Callable[[], None]
"""Called before a context is distilled, which takes long."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingContext:
    """What to train a window within, None for the base as it is. `made` is a context that was distilled for it,
    `fetched` whether a stranger made it, `refused` whether that one was not used because it is a bad one; `note` says
    what did not go as configured."""

    surroundings: ContextModel | None
    made: MadeContext | None = None
    fetched: bool = False
    refused: bool = False
    note: str = ""


class ContextModels:
    """Called between passes only, when no adapter is mounted. `packed` is what holds the base in few bits, where it
    is held so."""

    def __init__(
        self, base: Base, name: bytes, reference: ReferenceSet, *, packed: HeldPacked | None = None
    ) -> None:
        self._base = base
        self._packed = packed
        self._name = name
        self._reference = reference
        self._held: OrderedDict[tuple[object, ...], ContextModel] = OrderedDict()

    def key(self, window: BlockWindow, config: LayersConfig) -> bytes:
        """32 bytes that name what is distilled for a window."""
        return context_key(self._name, self._reference.fingerprint, window, _operator(config))

    def within(
        self, window: BlockWindow, config: LayersConfig, *, given: Content | None, on_distil: OnDistil
    ) -> TrainingContext:
        """A context that was fetched is `given`; one that is none, or worse than leaving blocks out, is not used and
        blocks are left out. Raises `UserMistake` where the model's blocks cannot be distilled."""
        if config.context != "distil":
            return TrainingContext(self._plain(window, config, config.context))
        if given is not None:
            try:
                return TrainingContext(self._fetched(window, config, given), fetched=True)
            except WireError as error:
                return self.refused(window, config, f"the fetched context: {error}")
        if config.contexts == "fetch":
            return self._dropped(window, config, "no context was fetched yet")
        return self._made(window, config, on_distil)

    def opened(self, window: BlockWindow | None) -> AbstractContextManager[None]:
        """Let local steps find these blocks of the base in full precision, where it is held in few bits. Raises
        `UserMistake` where its files are not what they were."""
        if window is None or self._packed is None:
            return nullcontext()
        return self._packed.opened(window)

    def subnet(self, groups: Mapping[int, frozenset[int]]) -> TrainingContext:
        """The base with these groups of heads only, by block. Raises `UserMistake` where they do not stand apart."""
        name = ("subnet", *sorted((block, *sorted(some)) for block, some in groups.items()))
        return TrainingContext(
            self._kept(name, lambda: ContextModel(subnet(self._base.model, groups)), most=HELD)
        )

    def refused(self, window: BlockWindow, config: LayersConfig, why: str) -> TrainingContext:
        """Blocks left out, because the context that was fetched is a bad one."""
        return replace(self._dropped(window, config, why), refused=True)

    def most_bytes(self, windows: Sequence[BlockWindow], config: LayersConfig) -> int:
        """How long what is distilled for any of these windows can be, encoded; 0 without windows."""
        model, operator = self._base.model, _operator(config)
        return max((most_bytes(fitted_shapes(model, window, operator)) for window in windows), default=0)

    def _dropped(self, window: BlockWindow, config: LayersConfig, why: str) -> TrainingContext:
        """For want of a better one."""
        return TrainingContext(self._plain(window, config, "drop"), note=f"left blocks out: {why}")

    def _plain(
        self, window: BlockWindow, config: LayersConfig, operator: ContextOperator
    ) -> ContextModel | None:
        if self._packed is not None and operator in ("int8", "int4"):
            operator = "none"
        if operator == "none" and not config.checkpoint:
            return None
        # Of "none", what is trained within is the base itself, whatever the ratio.
        ratio = config.ratio if operator == "drop" else None
        return self._kept(
            (operator, ratio, window, config.checkpoint),
            lambda: self._surroundings(window, config, _operator(config, operator)),
            most=_most(config),
        )

    def _fetched(self, window: BlockWindow, config: LayersConfig, given: Content) -> ContextModel:
        def make() -> ContextModel:
            fitted = decode_context(given.data, fitted_shapes(self._base.model, window, _operator(config)))
            fetched = self._surroundings(window, config, _operator(config), fitted)
            dropped = compressed(self._base.model, window, _operator(config, "drop"))
            windows_WT = self._reference.windows_WT[:_CHECKED_WINDOWS]
            here, there = (
                fidelity(self._base.model, model, windows_WT) for model in (dropped, fetched.model)
            )
            # Written so that a distance that is no number fails too.
            if not there <= max(here, NEAR_NATS):
                raise WireError(
                    "context", f"{there:.3g} nats from the base, leaving blocks out is {here:.3g}"
                )
            return fetched

        name = (self.key(window, config), given.digest, config.checkpoint)
        return self._kept(name, make, most=_most(config))

    def _made(self, window: BlockWindow, config: LayersConfig, on_distil: OnDistil) -> TrainingContext:
        made: list[MadeContext] = []

        def make() -> ContextModel:
            on_distil()
            try:
                fitted = distil(self._base.model, window, _operator(config), self._reference.windows_WT)
            except ValueError as error:
                raise UserMistake(f'layers.context = "distil": {error}; take another') from None
            made.append(MadeContext(key=self.key(window, config), content=Content.of(encode_context(fitted))))
            return self._surroundings(window, config, _operator(config), fitted)

        surroundings = self._kept((self.key(window, config), config.checkpoint), make, most=_most(config))
        return TrainingContext(surroundings, made[0] if made else None)

    def _surroundings(
        self,
        window: BlockWindow,
        config: LayersConfig,
        operator: ContextConfig,
        fitted: dict[str, torch.Tensor] | None = None,
    ) -> ContextModel:
        model = self._base.model
        if operator.operator != "none":
            model = compressed(model, window, operator, fitted=fitted)
        # A distilled block does the work of several, of which one's adapter is no part.
        kept = frozenset({-1, *range(window.first, window.end)}) if fitted is not None else None
        return ContextModel(model, kept, window if config.checkpoint else None)

    def _kept(self, name: tuple[object, ...], make: Callable[[], ContextModel], *, most: int) -> ContextModel:
        if name not in self._held:
            # The oldest go before the next is made: where memory is short, there is none for two.
            while len(self._held) >= most:
                self._held.popitem(last=False)
            self._held[name] = make()
        self._held.move_to_end(name)
        return self._held[name]


def windows_of(base: Base, count: int) -> list[BlockWindow]:
    """All windows of so many blocks."""
    return [BlockWindow(first, count) for first in range(len(blocks_of(base.model)) - count + 1)]


def _operator(config: LayersConfig, operator: ContextOperator | None = None) -> ContextConfig:
    return ContextConfig(
        operator=operator or config.context,
        ratio=config.ratio,
        alpha=config.distil_alpha,
        steps=config.distil_steps,
    )


def _most(config: LayersConfig) -> int:
    return 1 if config.memory_mb else HELD
