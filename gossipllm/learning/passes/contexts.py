"""Context models: what a part of an adapter is trained within. Made when first asked for; a few of them are kept.

For a block window, the other blocks are compressed (`gossipllm.model.contexts`); for heads, other peers' heads are left
out (`gossipllm.model.subnets`). Learners on one base share context models, so that learners that train the same part
go through one model together. A context model shares with the base every weight that it does not change.

A learner alone in its process keeps no copies in 8 or 4 bits: its base itself is held so, and training opens the block
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
from gossipllm.learning.jobs.jobs import ContextModel
from gossipllm.model.adapter.folding import fold, mounted_on
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
"""Models kept where no memory budget is given. Guess: the peers of a simulation draw different block windows."""
_CHECKED_WINDOWS: Final = 8
"""Windows of the reference set on which a fetched context is compared with leaving blocks out. Guess."""
NEAR_NATS: Final = 0.01
"""A fetched context this near to the base is accepted, however near leaving blocks out would be. Guess."""

OnDistil = Callable[[], None]
"""Called before a context is distilled, which can take minutes."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnerAdapter:
    """The adapter of one learner as it is now, `(1, ...)` by name, with which its contexts are distilled anew.
    `learner` is equal for the same learner only."""

    learner: object
    tensors: Mapping[str, torch.Tensor]
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainingContext:
    """The model to train a part within; `context_model` is None for the base as it is.

    `made` is a context that was distilled just now. `fetched` says that another peer made the context, `refused` that
    a fetched context was bad and is not used. `note` tells the user what did not go as configured.
    """

    context_model: ContextModel | None
    made: MadeContext | None = None
    fetched: bool = False
    refused: bool = False
    note: str = ""


class ContextModels:
    """The context models of one base. Call it between passes only, when no adapter is mounted.

    `packed` holds the base's packed layers where the base itself is in 8 or 4 bits.
    """

    def __init__(
        self, base: Base, name: bytes, reference: ReferenceSet, *, packed: HeldPacked | None = None
    ) -> None:
        self._base = base
        self._packed = packed
        self._name = name
        self._reference = reference
        self._held: OrderedDict[tuple[object, ...], ContextModel] = OrderedDict()

    def key(self, block_window: BlockWindow, config: LayersConfig) -> bytes:
        """32 bytes that name the context distilled for a block window: equal names mean equal inputs."""
        return context_key(self._name, self._reference.fingerprint, block_window, _operator(config))

    def within(
        self,
        block_window: BlockWindow,
        config: LayersConfig,
        *,
        given: Content | None,
        on_distil: OnDistil,
        own: LearnerAdapter | None = None,
    ) -> TrainingContext:
        """The model to train a block window within.

        `own` is needed for contexts that are distilled anew. `given` is a fetched context. Where it cannot be decoded,
        or is worse than leaving blocks out, blocks are left out instead. Raises `UserMistake` where the model's blocks
        cannot be distilled.
        """
        if config.context != "distil":
            return TrainingContext(self._plain(block_window, config, config.context))
        if given is not None:
            try:
                return TrainingContext(self._fetched(block_window, config, given), fetched=True)
            except WireError as error:
                return self.refused(block_window, config, f"the fetched context: {error}")
        if config.contexts == "fetch":
            return self._dropped(block_window, config, "no context was fetched yet")
        if config.distil_anew:
            assert own is not None, "it is told where contexts are distilled anew"
            return self._anew(block_window, config, on_distil, own)
        return self._made(block_window, config, on_distil)

    def whole(self, config: LayersConfig) -> TrainingContext:
        """The base itself, with all its blocks checkpointed where the configuration says so. Raises `UserMistake` where
        its blocks are not found."""
        if not config.checkpoint:
            return TrainingContext(None)
        model = self._base.model
        try:
            every = BlockWindow(0, len(blocks_of(model)))
        except ValueError as error:
            raise UserMistake(f"layers.checkpoint: {error}; take false") from None
        return TrainingContext(
            self._kept(
                ("none", None, every, True), lambda: ContextModel(model, None, every), most=_most(config)
            )
        )

    def opened(self, block_window: BlockWindow | None) -> AbstractContextManager[None]:
        """Hold these blocks of the base in full precision for the time of local steps, where it is packed. Raises
        `UserMistake` where the model's files have changed."""
        if block_window is None or self._packed is None:
            return nullcontext()
        return self._packed.opened(block_window)

    def subnet(self, groups: Mapping[int, frozenset[int]]) -> TrainingContext:
        """The base with only these groups of heads, by block. Raises `UserMistake` where a model's heads cannot be
        separated."""
        name = ("subnet", *sorted((block, *sorted(some)) for block, some in groups.items()))
        return TrainingContext(
            self._kept(name, lambda: ContextModel(subnet(self._base.model, groups)), most=HELD)
        )

    def refused(self, block_window: BlockWindow, config: LayersConfig, why: str) -> TrainingContext:
        """A model with blocks left out, because the fetched context is bad."""
        return replace(self._dropped(block_window, config, why), refused=True)

    def most_bytes(self, block_windows: Sequence[BlockWindow], config: LayersConfig) -> int:
        """The largest encoded context of any of these block windows, in bytes; 0 where there are none."""
        model, operator = self._base.model, _operator(config)
        shapes = (fitted_shapes(model, block_window, operator) for block_window in block_windows)
        return max(map(most_bytes, shapes), default=0)

    def _dropped(self, block_window: BlockWindow, config: LayersConfig, why: str) -> TrainingContext:
        """A model with blocks left out, because there is no better context."""
        return TrainingContext(self._plain(block_window, config, "drop"), note=f"left blocks out: {why}")

    def _plain(
        self, block_window: BlockWindow, config: LayersConfig, operator: ContextOperator
    ) -> ContextModel | None:
        if self._packed is not None and operator in ("int8", "int4"):
            operator = "none"
        if operator == "none" and not config.checkpoint:
            return None
        # Only "drop" depends on the ratio here; as part of the key it would make equal models twice.
        ratio = config.ratio if operator == "drop" else None
        return self._kept(
            (operator, ratio, block_window, config.checkpoint),
            lambda: self._context_model(block_window, config, _operator(config, operator)),
            most=_most(config),
        )

    def _fetched(self, block_window: BlockWindow, config: LayersConfig, given: Content) -> ContextModel:
        def make() -> ContextModel:
            fitted = decode_context(
                given.data, fitted_shapes(self._base.model, block_window, _operator(config))
            )
            fetched = self._context_model(block_window, config, _operator(config), fitted)
            dropped = compressed(self._base.model, block_window, _operator(config, "drop"))
            windows_WT = self._reference.even_WT[:_CHECKED_WINDOWS]
            here, there = (
                fidelity(self._base.model, model, windows_WT) for model in (dropped, fetched.model)
            )
            # `not <=` rather than `>`, so that a distance that is not a number fails too.
            if not there <= max(here, NEAR_NATS):
                raise WireError(
                    "context", f"{there:.3g} nats from the base, leaving blocks out is {here:.3g}"
                )
            return fetched

        name = (self.key(block_window, config), given.digest, config.checkpoint)
        return self._kept(name, make, most=_most(config))

    def _made(self, block_window: BlockWindow, config: LayersConfig, on_distil: OnDistil) -> TrainingContext:
        made: list[MadeContext] = []

        def make() -> ContextModel:
            fitted = self._distilled(block_window, config, on_distil)
            made.append(
                MadeContext(key=self.key(block_window, config), content=Content.of(encode_context(fitted)))
            )
            return self._context_model(block_window, config, _operator(config), fitted)

        context_model = self._kept(
            (self.key(block_window, config), config.checkpoint), make, most=_most(config)
        )
        return TrainingContext(context_model, made[0] if made else None)

    def _anew(
        self, block_window: BlockWindow, config: LayersConfig, on_distil: OnDistil, own: LearnerAdapter
    ) -> TrainingContext:
        """A context of the base with this adapter. It takes the place of the learner's last one, and nobody else can
        use it."""

        def make() -> ContextModel:
            with mounted_on(self._base.model, own.tensors, scale=own.scale):
                fitted = self._distilled(block_window, config, on_distil, fold=fold)
            return self._context_model(block_window, config, _operator(config), fitted)

        name = ("anew", own.learner)
        self._held.pop(name, None)
        return TrainingContext(self._kept(name, make, most=_most(config)))

    def _distilled(
        self,
        block_window: BlockWindow,
        config: LayersConfig,
        on_distil: OnDistil,
        *,
        fold: Callable[[torch.nn.Module], None] | None = None,
    ) -> dict[str, torch.Tensor]:
        on_distil()
        try:
            return distil(
                self._base.model, block_window, _operator(config), self._reference.even_WT, fold=fold
            )
        except ValueError as error:
            raise UserMistake(f'layers.context = "distil": {error}; take another') from None

    def _context_model(
        self,
        block_window: BlockWindow,
        config: LayersConfig,
        operator: ContextConfig,
        fitted: dict[str, torch.Tensor] | None = None,
    ) -> ContextModel:
        model = self._base.model
        if operator.operator != "none":
            model = compressed(model, block_window, operator, fitted=fitted)
        # A distilled block stands for several blocks; the adapters of these fit nowhere in it.
        kept = frozenset({-1, *range(block_window.first, block_window.end)}) if fitted is not None else None
        return ContextModel(model, kept, block_window if config.checkpoint else None)

    def _kept(self, name: tuple[object, ...], make: Callable[[], ContextModel], *, most: int) -> ContextModel:
        if name not in self._held:
            # Not a `BoundedDict` and not `lru_cache`: with a budget there is no memory for two models, so the oldest
            # must go before the next is made.
            while len(self._held) >= most:
                self._held.popitem(last=False)
            self._held[name] = make()
        self._held.move_to_end(name)
        return self._held[name]


def block_windows(base: Base, count: int) -> list[BlockWindow]:
    """All block windows of `count` blocks."""
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
