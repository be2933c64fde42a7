"""Local training of one learner: which part of its adapter is trained, within which model, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from gossipllm.config import LearnerConfig
from gossipllm.learning.composition.composition import Composition, Moves
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import OnStep, ProbeJob, StepsDone, StepsJob, Task, probed, stepped
from gossipllm.learning.jobs.kept import Kept
from gossipllm.learning.learner_state import LearnerState, diverged, stretch_of
from gossipllm.learning.merging.push.push import flat
from gossipllm.learning.passes.contexts import LearnerAdapter, TrainingContext
from gossipllm.learning.shared_model import SharedModel
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.model.subnets import owned
from gossipllm.text.windows import Windows
from gossipllm.work import Progress, PushedShare, Train
from trust.errors import UserMistake
from wire.digest import Content

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, eq=False)
class LocalResult:
    """The learner's state after local steps, and what a `Trained` answer reports about them."""

    after: LearnerState
    done: StepsDone
    within: TrainingContext
    importance: tuple[float | None, ...]
    shares: tuple[PushedShare, ...]

    def at(self, state: State) -> LocalResult:
        """The same steps, of which only the way to `state` is taken."""
        return self if state is self.after.state else replace(self, after=replace(self.after, state=state))


class LocalTraining:
    """Local training of one learner on its own text."""

    def __init__(
        self, config: LearnerConfig, shared: SharedModel, composition: Composition, train_WT: Windows
    ) -> None:
        self._config = config
        self._steps_config = config.training.in_windows(train_WT.shape[1])
        self._shared = shared
        self._composition = composition
        self._train_WT, self._held_WT = composition.split(train_WT)

    def settled(self, now: LearnerState) -> Task[LearnerState]:
        """The state to take local steps from: what is learned between rounds, on text that is held back for it."""
        return (yield from self._composition.settled(now, self._held_WT))

    def refined(self, now: LearnerState, row: Sequence[float], moves: Moves) -> Task[LearnerState | None]:
        """What a merge by this row can become by what is learned on that text (`Composition.refined`)."""
        return (yield from self._composition.refined(now, row, moves, self._held_WT))

    def perform(
        self, request: Train, before: LearnerState, on_progress: OnProgress, keeps: Kept | None = None
    ) -> Task[LocalResult]:
        """Take the requested steps from `before`, which is not changed, keeping what `keeps` says. Raises
        `UserMistake` where they diverge."""

        def report(phase: str, step: int = 0, loss: float = 0.0, tokens_per_s: float = 0.0) -> None:
            on_progress(
                Progress(
                    request=request.request,
                    phase=phase,
                    step=step,
                    steps=request.steps,
                    loss=loss,
                    tokens_per_s=tokens_per_s,
                )
            )

        blueprint = before.blueprint
        units = blueprint.in_turn(blueprint.units_of(request.units), request.round)
        if not units:
            raise ValueError("units must be some that this peer's adapter has")
        block_window = self._block_window(blueprint, units)
        within = self._within(before, units, block_window, request.context, lambda: report("distilling"))

        def on_step(step: int, loss: float, tokens_per_s: float) -> None:
            report("training", step, loss, tokens_per_s)

        contexts = self._shared.contexts
        try:
            with contexts.opened(block_window):
                done = yield from stepped(self._steps(request, before, units, within, on_step, keeps))
        except UserMistake as error:
            if block_window is None or not within.fetched:
                raise
            # The fetched context may be at fault: it was checked for its predictions, not for its gradients.
            within = contexts.refused(block_window, self._config.layers, str(error))
            done = yield from stepped(self._steps(request, before, units, within, on_step, keeps))
        importance = done.importance
        if request.probe and self._config.layers.partial:
            report("probing", request.steps)
            importance = yield from probed(self._probe(request.round, done))
        pushed, shares = before.pushed, tuple[PushedShare, ...]()
        if pushed is not None:
            layout = blueprint.trained
            gain_N = flat(done.state, layout) - flat(before.state, layout)
            try:
                pushed = pushed.after(
                    gain_N, tokens=done.tokens, samples=done.samples, alpha=self._config.tokens_alpha
                )
            except ValueError as error:
                raise diverged(error) from None
            pushed, shares = pushed.pushed(request.receivers, request.round)
        after = replace(
            before,
            round=request.round,
            state=done.state,
            start=before.state,
            units=units,
            moments=done.moments,
            pushed=pushed,
        )
        return LocalResult(after, done, within, importance, shares)

    def _steps(
        self,
        request: Train,
        before: LearnerState,
        units: tuple[int, ...],
        within: TrainingContext,
        on_step: OnStep,
        keeps: Kept | None,
    ) -> StepsJob:
        blueprint, training = before.blueprint, self._steps_config
        config = replace(training, learning_rate=training.learning_rate * request.rate)
        offer = blueprint.schema.offer(units, blueprint.rank)
        return StepsJob(
            before.state,
            before.moments.of(offer.units),
            self._train_WT,
            batches(
                len(self._train_WT),
                config,
                round_number=request.round,
                steps=request.steps,
                taken=before.moments.steps,
            ),
            config,
            on_step,
            tensors=() if units == blueprint.own else blueprint.tensors_of(units),
            masks=self._composition.masks(before, units),
            context_model=within.context_model,
            measure=self._config.layers.partial,
            dropout=self._config.adapter.dropout,
            stretch=stretch_of(self._composition.published_form(blueprint)),
            round=request.round,
            keeps=keeps,
        )

    def _block_window(self, blueprint: Blueprint, units: tuple[int, ...]) -> BlockWindow | None:
        """The block window that these units span; None where a round trains all blocks."""
        layers = {blueprint.schema.units[index].layer for index in units} - {-1}
        if not self._config.layers.partial or not layers:
            return None
        return BlockWindow(min(layers), max(layers) - min(layers) + 1)

    def _within(
        self,
        before: LearnerState,
        units: tuple[int, ...],
        block_window: BlockWindow | None,
        given: Content | None,
        on_distil: Callable[[], None],
    ) -> TrainingContext:
        """The model that the passes of local steps go through."""
        contexts, blueprint = self._shared.contexts, before.blueprint
        if block_window is not None:
            return contexts.within(
                block_window,
                self._config.layers,
                given=given,
                on_distil=on_distil,
                own=self._own(before) if self._config.layers.distil_anew else None,
            )
        if self._config.heads.mode == "subnet" and units != blueprint.own:
            return contexts.subnet(owned(blueprint, units))
        return contexts.whole(self._config.layers)

    def _own(self, before: LearnerState) -> LearnerAdapter:
        """All of the adapter, trained or not, as the base computes with it."""
        device, held = self._shared.base.device, {**before.blueprint.frozen, **before.state}
        tensors = {name: torch.tensor(value, device=device)[None] for name, value in held.items()}
        return LearnerAdapter(self, tensors, before.blueprint.scale)

    def _probe(self, round_number: int, done: StepsDone) -> ProbeJob:
        """A probe on the windows of the round's first batch."""
        config = self._steps_config
        (rows,) = batches(len(self._train_WT), config, round_number=round_number, steps=1)
        return ProbeJob(done.state, self._train_WT[rows], config.reduction)
