"""Passes through one frozen base with any number of adapters of one shape beside its layers.

A pass goes through the base or through a context model, whose untrained parts are compressed
(`gossipllm.model.contexts`). Tensors of an adapter that are not trained in a pass take part as constants, so that
gradients and moments are as long as what is trained. The base is held once, whatever adapters are mounted beside it.

Axes: P adapters, N their parameters; B windows of a pass, P equal groups of them; T positions, V tokens of the
vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch

from gossipllm.learning.jobs.jobs import ContextModel, Purpose
from gossipllm.learning.passes.flat import FlatLayout
from gossipllm.learning.passes.losses import pooled, token_losses, tokens_and_mask
from gossipllm.learning.passes.memory.token_memory import dropout_bytes, training_bytes
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.dropout import Dropout
from gossipllm.model.adapter.names import WEIGHT, A, B, State
from gossipllm.model.adapter.sites import LinearSite, LoraSite, Site
from gossipllm.model.contexts.compressed import checkpointed
from gossipllm.model.contexts.quantised import PackedLinear
from gossipllm.model.fused.forwards import fused_forwards, hidden_states_of, open_head
from gossipllm.model.fused.head import next_token_losses
from gossipllm.model.loading.models import Base
from gossipllm.model.running import logits_of
from gossipllm.text.windows import targets
from trust.rows.config import Reduction

R = TypeVar("R")


@dataclass(slots=True)
class PassCounter:
    """Tokens that went through the base, by purpose; backward passes are counted apart from forward passes."""

    forward: Counter[str] = field(default_factory=Counter[str])
    backward: Counter[str] = field(default_factory=Counter[str])


class Engine:
    """Passes through a base with sites, for adapters of one blueprint. Sites hold state: use one thread at a time."""

    def __init__(self, base: Base, blueprint: Blueprint, meter: PassCounter) -> None:
        self.base = base
        self.blueprint = blueprint
        self.meter = meter
        self.vocabulary = base.vocabulary
        self.token_bytes = training_bytes(base) + dropout_bytes(base, blueprint) * blueprint.layers
        self.whole = FlatLayout(blueprint.trained.tensors, base.device)
        self._parts: dict[tuple[str, ...], FlatLayout] = {}
        self._sites = _sites_of(base.model)
        self._opens: bool | None = None
        self._frozen = {
            name: torch.tensor(value, dtype=base.dtype, device=base.device)[None]
            for name, value in blueprint.frozen.items()
        }

    def flat_layout(self, names: tuple[str, ...]) -> FlatLayout:
        """The layout of these trained tensors, of all where none is named."""
        if not names or len(names) == len(self.whole.places):
            return self.whole
        if names not in self._parts:
            specs = [spec for spec in self.blueprint.trained.tensors if spec.name in names]
            self._parts[names] = FlatLayout(specs, self.base.device)
        return self._parts[names]

    def live(
        self, states: Sequence[State], *, but: FlatLayout | None = None, kept: frozenset[int] | None = None
    ) -> dict[str, torch.Tensor]:
        """The tensors of these adapters, `(P, ...)` by name, without those in `but` and only at the layers in `kept`.

        Differences from the base that are zero are left out, so that the untrained part of an adapter as large as the
        base takes no memory.
        """
        if but is None and kept is None and self.blueprint.schema.ranked:
            held = self.whole
        else:
            held = FlatLayout(
                [
                    spec
                    for spec in self.blueprint.trained.tensors
                    if (but is None or spec.name not in but.places)
                    and (kept is None or self.blueprint.layer_of(spec.name) in kept)
                    and (self.blueprint.schema.ranked or any(state[spec.name].any() for state in states))
                ],
                self.base.device,
            )
        return held.views(held.rows(states).to(self.base.dtype))

    def base_weight(self, name: str) -> torch.Tensor | None:
        """The base's weight to which a tensor of differences is added, `(N,)` float32; None for a factor of LoRA."""
        if name.endswith((A, B)):
            return None
        module, _, which = name.rpartition(".")
        (site,) = (site for site in self._sites if site.name == module)
        if isinstance(site.frozen, PackedLinear) and name.endswith(WEIGHT):
            assert isinstance(site, LinearSite), "linear layers alone are packed"
            weight_OI = site.frozen.whole(torch.float32)
            return (weight_OI if site.outputs_first else weight_OI.T).flatten()
        return cast("torch.Tensor", getattr(site.frozen, which)).detach().flatten().float()

    @contextmanager
    def mounted(
        self,
        tensors: Mapping[str, torch.Tensor],
        context_model: ContextModel | None = None,
        *,
        fused: bool = False,
    ) -> Generator[None]:
        """Mount these adapters, `(P, ...)` by name, for passes within the `with` block; `fused` ones where they have a
        gradient."""
        count = max(map(len, tensors.values()), default=1)
        frozen = {
            name: value.expand(count, *value.shape[1:])
            for name, value in self._frozen.items()
            if context_model is None
            or context_model.kept is None
            or self.blueprint.layer_of(name) in context_model.kept
        }
        everything = {**frozen, **tensors}
        model = self.base.model if context_model is None else context_model.model
        if fused and self._opens is None:
            # Context models are of the base's family, and the base itself may be without its blocks.
            self._opens = open_head(model) is not None
        sites = self._sites if context_model is None else _sites_of(model)
        for site in sites:
            site.mount(everything, scale=self.blueprint.scale)
        try:
            with ExitStack() as stack:
                if fused:
                    stack.enter_context(fused_forwards(model))
                if context_model is not None and context_model.checkpointed is not None:
                    stack.enter_context(checkpointed(context_model.model, context_model.checkpointed))
                yield
        finally:
            for site in sites:
                site.unmount()

    @contextmanager
    def dropping(
        self, dropouts: Sequence[Dropout], context_model: ContextModel | None = None
    ) -> Generator[None]:
        """Apply dropout to the inputs of the mounted adapters' A, one entry for each adapter; none for no dropout."""
        sites = self._sites if context_model is None else _sites_of(context_model.model)
        lora = [site for site in sites if isinstance(site, LoraSite)]
        for site in lora:
            site.dropouts = dropouts
        try:
            yield
        finally:
            for site in lora:
                site.dropouts = ()

    def next_token_losses(
        self, tokens_BT: torch.Tensor, bears_BU: torch.Tensor | None, context_model: ContextModel | None
    ) -> torch.Tensor:
        """`(B, T-1)` nats: the loss of every token but the first of its window that bears loss, 0 for others. The
        logits are not kept where the model lets its head be taken out."""
        model = self.base.model if context_model is None else context_model.model
        if not self._opens:
            return token_losses(self.logits(tokens_BT, context_model=context_model), tokens_BT)
        head = cast("torch.nn.Linear", cast("Any", model).get_output_embeddings())
        hidden_BTH = hidden_states_of(model, head, tokens_BT)
        if bears_BU is None:
            # The last position predicts nothing that is known: any target will do, its loss is cut off.
            targets_N = tokens_BT.roll(-1, dims=1).flatten()
            losses_N = next_token_losses(hidden_BTH.flatten(0, 1), head.weight, targets_N)
            return losses_N.view(tokens_BT.shape)[:, :-1]
        losses_R = next_token_losses(hidden_BTH[:, :-1][bears_BU], head.weight, tokens_BT[:, 1:][bears_BU])
        return torch.zeros(bears_BU.shape, device=losses_R.device).masked_scatter(bears_BU, losses_R)

    def logits(
        self, tokens_BT: torch.Tensor, *, last: bool = False, context_model: ContextModel | None = None
    ) -> torch.Tensor:
        """`(B, T, V)`, or `(B, 1, V)` of the last position only."""
        return logits_of(
            self.base.model if context_model is None else context_model.model, tokens_BT, last=last
        )


class Slopes:
    """Losses and gradients of P adapters. The leaves of the graph are views of one matrix, so that a step on all
    tensors is one operation."""

    def __init__(
        self,
        engine: Engine,
        flat: FlatLayout,
        states: Sequence[State],
        *,
        reduction: Reduction = "tokens",
        context_model: ContextModel | None = None,
        fused: bool = False,
    ) -> None:
        self._engine = engine
        self._fused = fused
        self._reduction: Reduction = reduction
        self._context_model = context_model
        self._live_PN = torch.zeros(
            len(states), flat.count, dtype=engine.base.dtype, device=engine.base.device
        )
        self._leaves = flat.views(self._live_PN)
        for leaf in self._leaves.values():
            leaf.requires_grad_()
        kept = None if context_model is None else context_model.kept
        self._constants = engine.live(states, but=flat, kept=kept)

    @contextmanager
    def mounted(self) -> Generator[None]:
        """Mount the adapters; `at` can be called within the `with` block."""
        everything = {**self._constants, **self._leaves}
        with self._engine.mounted(everything, self._context_model, fused=self._fused):
            yield

    def at(
        self,
        theta_PN: torch.Tensor,
        windows_PBT: np.ndarray[Any, Any],
        purpose: Purpose,
        dropouts: Sequence[Dropout] = (),
        *,
        at_once: int = 0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of each adapter, `(P,)`, and its gradient, `(P, N)`, both float32.

        At most `at_once` windows of each adapter go through the model at a time, all where it is 0; the means are those
        over all windows. Dropout draws for each such part by itself.
        """
        with torch.no_grad():
            self._live_PN.copy_(theta_PN)
        if not 0 < at_once < windows_PBT.shape[1]:
            return self._of_part(windows_PBT, purpose, dropouts)
        counts_PB = targets(windows_PBT)
        if self._reduction == "sequences":
            counts_PB = np.minimum(counts_PB, 1)
        # Parts count by what bears loss in them; a mean of their means would count tokens of short parts more.
        shares_PB = counts_PB / np.maximum(counts_PB.sum(axis=1, keepdims=True), 1)
        loss_P, gradient_PN = torch.zeros_like(theta_PN[:, 0]), torch.zeros_like(theta_PN)
        for part, first in enumerate(range(0, windows_PBT.shape[1], at_once)):
            some = slice(first, first + at_once)
            share_P = torch.tensor(
                shares_PB[:, some].sum(axis=1), dtype=theta_PN.dtype, device=theta_PN.device
            )
            drawn = [replace(one, draw=(*one.draw, part)) for one in dropouts]
            mean_P, slope_PN = self._of_part(windows_PBT[:, some], purpose, drawn)
            loss_P += share_P * mean_P
            gradient_PN.addcmul_(share_P[:, None], slope_PN)
        return loss_P, gradient_PN

    def of_loss(
        self, theta_PN: torch.Tensor, loss: Callable[[], torch.Tensor], purpose: Purpose, *, tokens: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `at`, for another loss, `(P,)`, of passes that take so many tokens through the model."""
        with torch.no_grad():
            self._live_PN.copy_(theta_PN)
        return self._gradient(loss, purpose, tokens)

    def without_gradient(self, theta_PN: torch.Tensor, measure: Callable[[], R]) -> R:
        """What `measure` gives with these adapters mounted."""
        with torch.no_grad():
            self._live_PN.copy_(theta_PN)
            return measure()

    def _of_part(
        self, windows_PBT: np.ndarray[Any, Any], purpose: Purpose, dropouts: Sequence[Dropout]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Around the backward pass too, where checkpointed blocks are computed again.
        with self._engine.dropping(dropouts, self._context_model):
            return self._gradient(
                lambda: mean_losses(
                    self._engine,
                    windows_PBT,
                    reduction=self._reduction,
                    context_model=self._context_model,
                    fused=self._fused,
                ),
                purpose,
                windows_PBT.size,
            )

    def _gradient(
        self, loss: Callable[[], torch.Tensor], purpose: Purpose, tokens: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        loss_P = loss()
        # Adapters share no parameter, so the gradient of the summed loss is each adapter's own gradient.
        slopes = torch.autograd.grad(loss_P.sum(), list(self._leaves.values()))
        self._engine.meter.forward[purpose] += tokens
        self._engine.meter.backward[purpose] += tokens
        return loss_P.detach(), torch.cat([slope.flatten(1) for slope in slopes], dim=1).float()


def mean_losses(
    engine: Engine,
    windows_PBT: np.ndarray[Any, Any],
    *,
    reduction: Reduction,
    context_model: ContextModel | None = None,
    fused: bool = False,
) -> torch.Tensor:
    """Each mounted adapter's mean loss on its windows, `(P,)`."""
    tokens_BT, bears_BU = tokens_and_mask(windows_PBT, engine.base.device)
    if fused:
        losses_BU = engine.next_token_losses(tokens_BT, bears_BU, context_model)
    else:
        losses_BU = token_losses(engine.logits(tokens_BT, context_model=context_model), tokens_BT)
    return pooled(losses_BU, bears_BU, groups=len(windows_PBT), reduction=reduction)


def _sites_of(model: torch.nn.Module) -> list[Site]:
    return [module for module in model.modules() if isinstance(module, Site)]
