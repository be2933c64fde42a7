"""What the own text may lose to public text is held against the best that it ever was, over rounds and restarts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import LearnerConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.jobs.jobs import LossJob, Task
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.learning.learner_state import LearnerState
from gossipllm.learning.measuring.own_text import MOST, OwnText
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.snapshots import LeastOwn, decode_snapshot
from gossipllm.work import Evaluate, Evaluated, Merge, Open, Restore, Train, Trained, Work
from support.progress import silent
from wire.digest import Content
from wire.floats import F32

Config = Callable[..., LearnerConfig]


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def opened(config: LearnerConfig, snapshot: Content | None = None) -> Learner:
    learner, _ = answer(None, Open(request=1, config=config, snapshot=snapshot), silent)
    assert learner is not None
    return learner


def settings(
    config: Config, *, trust: float = 0.5, train: float = 0.0, rate: float = 1e-3, seed: int = 0
) -> LearnerConfig:
    plain = config()
    return replace(
        plain,
        data=replace(plain.data, trust_public=trust, train_public=train),
        training=TrainingConfig(batch_windows=4, learning_rate=rate, warmup_steps=0, seed=seed),
        reference=ReferenceConfig(source=plain.reference.source, windows=4, window_bytes=32),
    )


def trained(learner: Learner, round_: int = 1, steps: int = 4) -> Trained:
    return ask(learner, Train(request=2, round=round_, steps=steps))


def refuse(*_: object) -> bool:
    return False


def own_loss(learner: Learner) -> float:
    losses_W = learner._memory.trust_losses_W
    assert losses_W is not None
    return learner._memory.measuring.own_loss(losses_W)


def ended(task: Task[State], measured: Callable[[LossJob], list[F32]]) -> State:
    """The result of a task whose jobs are answered so."""
    reply = None
    while True:
        try:
            job = task.send(reply)
        except StopIteration as stop:
            return stop.value
        assert isinstance(job, LossJob)
        reply = measured(job)


@pytest.fixture(scope="module")
def learner(config: Config) -> Learner:
    return opened(settings(config))


@pytest.fixture
def bound(learner: Learner) -> OwnText:
    return learner._memory.own_text


@pytest.fixture
def losses(learner: Learner) -> Callable[[float], F32]:
    """Trust losses of this mean on the own text; those of public text are far from it."""
    own = len(learner._memory.measuring.own_trust_WT)

    def made(loss: float) -> F32:
        losses_W = np.full(len(learner._memory.measuring.trust_WT), 9.0, np.float32)
        losses_W[:own] = loss
        return losses_W

    return made


@pytest.fixture
def fresh(learner: Learner) -> LearnerState:
    return replace(learner._memory.now, least_own=None)


def test_small_losses_do_not_add_up(
    bound: OwnText, losses: Callable[[float], F32], fresh: LearnerState
) -> None:
    now = bound.noted(bound.noted(fresh, losses(2.0)), losses(2.0 * (1 + 0.9 * MOST)))

    assert bound.spares(now, losses(2.0 * (1 + 0.9 * MOST)), losses(2.0 * (1 + 0.99 * MOST)))
    assert not bound.spares(now, losses(2.0 * (1 + 0.9 * MOST)), losses(2.0 * (1 + 1.01 * MOST)))


def test_beyond_the_bound_only_what_costs_no_more_is_taken(
    bound: OwnText, losses: Callable[[float], F32], fresh: LearnerState
) -> None:
    now = bound.noted(fresh, losses(2.0))

    assert bound.spares(now, losses(2.5), losses(2.4))
    assert not bound.spares(now, losses(2.5), losses(2.6))


def test_losses_that_are_not_finite_are_no_best(
    bound: OwnText, losses: Callable[[float], F32], fresh: LearnerState
) -> None:
    assert bound.noted(fresh, losses(float("nan"))).least_own is None
    assert bound.noted(fresh, losses(float("-inf"))).least_own is None


def test_what_was_measured_of_other_text_binds_nothing(
    bound: OwnText, losses: Callable[[float], F32], fresh: LearnerState
) -> None:
    now = replace(fresh, least_own=LeastOwn(loss=0.1, windows=b"another text"))

    assert bound.spares(now, losses(2.0), losses(8.0))
    least = bound.noted(now, losses(2.0)).least_own
    assert least is not None
    assert least.loss == pytest.approx(2.0)


def test_the_best_is_kept_over_restarts_and_over_going_back(config: Config) -> None:
    whole = settings(config)
    learner = opened(whole)
    first = trained(learner)
    best = decode_snapshot(first.snapshot.data).header.least_own
    trained(learner, 2, steps=12)
    later = decode_snapshot(learner.snapshot().data).header.least_own
    assert isinstance(best, LeastOwn)
    assert isinstance(later, LeastOwn)

    again = opened(whole, learner.snapshot())
    ask(again, Restore(request=3, snapshot=first.snapshot))

    assert later.loss < best.loss
    assert decode_snapshot(again.snapshot().data).header.least_own == later


def test_the_state_before_the_first_step_counts(
    config: Config, losses: Callable[[float], F32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the base read the own text far better than any state after it; this tiny one reads it badly."""
    learner = opened(settings(config))
    measure = learner._memory.measuring.trust_losses
    found = [losses(0.5)]

    def trust_losses(state: State) -> Task[F32]:
        measured_W = yield from measure(state)
        return found.pop() if found else measured_W

    monkeypatch.setattr(learner._memory.measuring, "trust_losses", trust_losses)
    trained(learner)
    least = learner._memory.now.least_own

    assert least is not None
    assert least.loss == 0.5
    assert own_loss(learner) > least.loss


def test_local_steps_are_shortened_and_the_shortened_adapter_is_what_is_announced(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = opened(settings(config))
    before = {name: value.copy() for name, value in learner.state.items()}
    monkeypatch.setattr(OwnText, "spares", refuse)
    made = trained(learner)

    assert all(np.array_equal(learner.state[name], before[name]) for name in before)
    assert made.update == trained(opened(settings(config)), steps=0).update


def test_without_public_text_nothing_is_measured_or_saved(config: Config) -> None:
    learner = opened(settings(config, trust=0.0))
    made = trained(learner)

    assert not isinstance(decode_snapshot(made.snapshot.data).header.least_own, LeastOwn)


@pytest.mark.parametrize(
    ("whole", "part"), [(0.9, 1.0), (1.5, 0.5), (3.0, 0.25), (30.0, 0.0), (math.inf, 1.0)]
)
def test_steps_are_shortened_to_what_the_own_text_bears(
    bound: OwnText, losses: Callable[[float], F32], fresh: LearnerState, whole: float, part: float
) -> None:
    """All of the way costs `whole` times the bound, a part of it in proportion. Divergence is for others to report."""
    name, begun = next(iter(fresh.state.items()))
    now = bound.noted(fresh, losses(2.0))

    def measured(job: LossJob) -> list[F32]:
        share = float((job.states[0][name] - begun).mean())
        return [losses(2.0 * (1 + whole * MOST * share))]

    taken = ended(bound.shortened(now, losses(2.0), {**fresh.state, name: begun + 1}), measured)

    assert (taken[name] - begun).mean() == pytest.approx(part, abs=1e-6)


def test_a_merge_that_costs_the_own_text_too_much_gains_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = trained(opened(settings(config, seed=1)), steps=30)
    learner = opened(settings(config))
    trained(learner)
    rows = ((0.5, 0.5), (1.0, 0.0))

    def gain() -> float:
        answered = ask(learner, Evaluate(request=4, rows=rows, updates=(neighbour.update,)))
        assert isinstance(answered, Evaluated)
        return answered.gains[0]

    spared = gain()
    monkeypatch.setattr(OwnText, "spares", refuse)

    assert spared > 0
    assert gain() == 0
    ask(learner, Merge(request=5, row=(1.0,), updates=()))
