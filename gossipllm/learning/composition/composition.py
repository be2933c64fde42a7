"""How a learner's adapter is composed, and what a mix of neighbours makes of it.

    Single    one adapter is trained, published and mixed; a merge replaces it (parameters, updates, push-sum)
    Moved     the same, with outer momentum on what a merge changes
    Beside    two adapters: the own one is trained and published, the other one is mixed from neighbours

The rest of the learner asks a `Composition` and knows none of the three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MIXINGS
from gossipllm.learning.composition.gates import fitted, held_back
from gossipllm.learning.composition.outer import OuterStep
from gossipllm.learning.composition.parts import (
    first_gates,
    holds_rest,
    joined,
    own_mask,
    own_part,
    rest_part,
)
from gossipllm.learning.composition.routing import by_block
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.learner_state import LearnerState
from gossipllm.learning.merging.neighbours import Target
from gossipllm.learning.merging.stack import OwnAdapter
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows
from wire.floats import F32

Moves: TypeAlias = Callable[[], tuple[State | None, list[State]]]
"""`Neighbours.moves` of the neighbours of a row."""


class Composition(Protocol):
    @property
    def blueprint(self) -> Blueprint:
        """The form of the whole adapter, which passes go through, as configured."""
        ...

    def fresh(self, warm: State | None = None) -> LearnerState:
        """The state before the first step. `warm` is an adapter to start from, of the form of what is published."""
        ...

    def published_form(self, whole: Blueprint) -> Blueprint:
        """The form of what is published, where the whole adapter has the form `whole`, which pruning may have
        narrowed."""
        ...

    def published(self, whole: State) -> State: ...

    def alone(self, published: State) -> State:
        """A whole adapter that computes as a published one does by itself."""
        ...

    def target(self, now: LearnerState) -> Target:
        """What neighbours are mixed into, and what the whole adapter becomes of a mix."""
        ...

    def after(self, now: LearnerState, mixed: State) -> LearnerState:
        """The learner's state once a mix is taken."""
        ...

    def masks(self, now: LearnerState, units: tuple[int, ...]) -> Mapping[str, F32] | None:
        """1 where local steps on these units may change an entry; None for everywhere."""
        ...

    def split(self, train_WT: Windows) -> tuple[Windows, Windows]:
        """The windows to train on, and those that are held back for what is learned between rounds."""
        ...

    def settled(self, now: LearnerState, held_WT: Windows) -> Task[LearnerState]:
        """The state that local steps go on from."""
        ...

    def refined(
        self, now: LearnerState, row: Sequence[float], moves: Moves, held_WT: Windows
    ) -> Task[LearnerState | None]:
        """Another state than the mix by this row gives, to be judged against it; None for no other."""
        ...


def composition_of(config: LearnerConfig, published: Blueprint) -> Composition:
    """`published` is the form of updates, as configured."""
    if MIXINGS[config.mixing].beside:
        return Beside(config, published, published.doubled())
    if config.outer != "none":
        return Moved(config, published)
    return Single(config, published)


@dataclass(frozen=True)
class Single:
    config: LearnerConfig
    blueprint: Blueprint

    def fresh(self, warm: State | None = None) -> LearnerState:
        return LearnerState.fresh(self.config, self.blueprint, warm)

    def published_form(self, whole: Blueprint) -> Blueprint:
        return whole

    def published(self, whole: State) -> State:
        return whole

    def alone(self, published: State) -> State:
        return published

    def target(self, now: LearnerState) -> Target:
        return Target(OwnAdapter(now.state, now.start, now.units))

    def after(self, now: LearnerState, mixed: State) -> LearnerState:
        return replace(now, state=mixed)

    def masks(self, now: LearnerState, units: tuple[int, ...]) -> Mapping[str, F32] | None:
        return now.blueprint.masks_of(units)

    def split(self, train_WT: Windows) -> tuple[Windows, Windows]:
        return train_WT, train_WT[:0]

    def settled(self, now: LearnerState, held_WT: Windows) -> Task[LearnerState]:  # noqa: ARG002
        yield from ()
        return now

    def refined(
        self,
        now: LearnerState,  # noqa: ARG002
        row: Sequence[float],  # noqa: ARG002
        moves: Moves,  # noqa: ARG002
        held_WT: Windows,  # noqa: ARG002
    ) -> Task[LearnerState | None]:
        yield from ()
        return None


@dataclass(frozen=True)
class Moved(Single):
    def target(self, now: LearnerState) -> Target:
        return Target(OwnAdapter(now.state, now.start, now.units), lambda mixed: self._step(now, mixed)[0])

    def after(self, now: LearnerState, mixed: State) -> LearnerState:
        state, memory = self._step(now, mixed)
        return replace(now, state=state, momentum=memory, moved_round=now.round)

    def _step(self, now: LearnerState, mixed: State) -> tuple[State, State]:
        config = self.config
        step = OuterStep(config.outer, config.outer_momentum, config.outer_rate)
        return step.taken(now.start, mixed, now.momentum, rounds=max(1, now.round - now.moved_round))


@dataclass(frozen=True)
class Beside:
    config: LearnerConfig
    part: Blueprint
    blueprint: Blueprint

    def fresh(self, warm: State | None = None) -> LearnerState:
        own, gates = LearnerState.fresh(self.config, self.part, warm), first_gates(self.part)
        rest = own.state if warm is None else self.part.shared
        state = joined(self.part, own.state, rest, gates)
        return replace(own, blueprint=self.blueprint, state=state, start=state, gates=gates)

    def published_form(self, whole: Blueprint) -> Blueprint:  # noqa: ARG002
        return self.part

    def published(self, whole: State) -> State:
        return own_part(self.part, whole)

    def alone(self, published: State) -> State:
        nothing = (0.0,) * (self.part.layers + 1)
        return joined(self.part, published, self.part.shared, nothing)

    def target(self, now: LearnerState) -> Target:
        own, rest = own_part(self.part, now.state), rest_part(self.part, now.state, now.gates)
        return Target(
            OwnAdapter(rest, rest, now.units, beside=own),
            lambda mixed: joined(self.part, own, mixed, now.gates),
        )

    def after(self, now: LearnerState, mixed: State) -> LearnerState:
        return replace(now, state=self.target(now).whole(mixed))

    def masks(self, now: LearnerState, units: tuple[int, ...]) -> Mapping[str, F32] | None:  # noqa: ARG002
        return own_mask(self.part, now.state)

    def split(self, train_WT: Windows) -> tuple[Windows, Windows]:
        return held_back(train_WT)

    def settled(self, now: LearnerState, held_WT: Windows) -> Task[LearnerState]:
        """With gates that fit what the own part has become since they were fitted last."""
        if not len(held_WT) or not holds_rest(self.part, now.state):
            return now
        reduction = self.config.training.reduction
        gates, state = yield from fitted(self.part, now.state, now.gates, held_WT, reduction)
        return replace(now, state=state, gates=gates)

    def refined(
        self, now: LearnerState, row: Sequence[float], moves: Moves, held_WT: Windows
    ) -> Task[LearnerState | None]:
        if not MIXINGS[self.config.mixing].by_layer or not len(held_WT):
            return None
        origin, each = moves()
        assert origin is not None, "the own part is the origin"
        reduction = self.config.training.reduction
        state = yield from by_block(row, origin, each, self.part, held_WT, reduction)
        return replace(now, state=state)
