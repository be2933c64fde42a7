"""What proposes a merge never sees the windows that judge it, and what judges it never those that proposed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.jobs import Purpose, Task, losses_of
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.learning.measuring.halves import halves
from gossipllm.learning.shared_model import load_shared_model, load_text
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows
from gossipllm.work import (
    Confirm,
    Confirmed,
    Evaluate,
    Evaluated,
    Finalist,
    Fit,
    Fitted,
    Train,
    Trained,
    Work,
)
from support.progress import silent
from wire.floats import F32

Config = Callable[..., LearnerConfig]
ROUND = 3


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


@dataclass(frozen=True)
class Answers:
    confirmed: Confirmed
    evaluated: Evaluated
    several: Evaluated
    fitted: Fitted


@pytest.fixture(scope="module")
def answers(config: Config) -> Callable[..., Answers]:
    """The answers of a learner in `ROUND`, with the windows of one half replaced by other text, if asked for."""
    whole = config()
    whole = replace(
        whole, judging=True, data=replace(whole.data, trust_windows=16, weigh_windows=16, trust_fraction=0.4)
    )
    shared = load_shared_model(whole, lambda _phase, _step: None)
    splits = load_text(whole, shared.base)
    other = Learner(replace(whole, training=replace(whole.training, seed=9)), shared, splits)
    neighbour: Trained = ask(other, Train(request=1, round=ROUND, steps=3))
    split = halves(16, seed=whole.training.seed, round_=ROUND, split=True)

    def made(changed: str = "") -> Answers:
        trust_WT = splits.trust_WT.copy()
        if changed:
            windows = split.proposing_P if changed == "proposing" else split.judging_J
            trust_WT[windows] = splits.test_WT[: len(windows)]
        learner = Learner(whole, shared, replace(splits, trust_WT=trust_WT))
        ask(learner, Train(request=1, round=ROUND, steps=3))
        updates = (neighbour.update,)
        finalists = (Finalist(author="ada", update=neighbour.update, evidence=neighbour.evidence),)
        return Answers(
            ask(learner, Confirm(request=2, finalists=finalists, share=0.25)),
            ask(learner, Evaluate(request=3, rows=((0.5, 0.5), (1.0, 0.0)), updates=updates)),
            ask(learner, Evaluate(request=5, rows=((0.9, 0.1), (0.2, 0.8), (1.0, 0.0)), updates=updates)),
            ask(learner, Fit(request=4, row=(0.5, 0.5), updates=updates, steps=2, rate=0.5)),
        )

    return made


def test_neighbours_are_tried_and_rows_fitted_on_the_windows_that_propose(
    answers: Callable[..., Answers],
) -> None:
    plain, same, other = answers(), answers("judging"), answers("proposing")
    assert same.confirmed.results == plain.confirmed.results
    assert other.confirmed.results[0].gain != plain.confirmed.results[0].gain
    assert same.fitted == plain.fitted
    assert other.fitted.losses != plain.fitted.losses
    assert same.evaluated.proposed == pytest.approx(plain.evaluated.proposed, abs=1e-6)


def test_gains_and_their_errors_are_of_the_windows_that_judge(answers: Callable[..., Answers]) -> None:
    plain, same, other = (one.evaluated for one in (answers(), answers("proposing"), answers("judging")))
    assert same.gains == pytest.approx(plain.gains, abs=1e-6)
    assert same.errors == pytest.approx(plain.errors, abs=1e-6)
    assert other.gains[0] != pytest.approx(plain.gains[0], abs=1e-6)
    assert plain.gains[1] == 0.0


def test_losses_are_of_both_halves(answers: Callable[..., Answers]) -> None:
    found = answers().evaluated
    own, judged = found.proposed[1], found.proposed[0]
    rise = found.losses[0] - found.losses[1]
    assert rise == pytest.approx(np.mean([judged - own, -found.gains[0]]), abs=1e-6)


def test_only_the_best_row_is_measured_on_the_windows_that_judge(answers: Callable[..., Answers]) -> None:
    found = answers().several
    *proposed, own = found.proposed
    best = int(np.argmin(proposed))
    for index, gain in enumerate(found.gains[:-1]):
        assert np.isfinite(gain) == (index == best)
        if index != best:
            difference = proposed[index] - own
            assert found.losses[index] - found.losses[-1] == pytest.approx(difference, abs=1e-6)


def test_rows_that_cannot_be_merged_cost_half_the_windows(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = config()
    whole = replace(
        whole, judging=True, data=replace(whole.data, trust_windows=16, weigh_windows=16, trust_fraction=0.4)
    )
    shared = load_shared_model(whole, lambda _phase, _step: None)
    splits = load_text(whole, shared.base)
    learner, other = (
        Learner(replace(whole, training=replace(whole.training, seed=seed)), shared, splits)
        for seed in (0, 9)
    )
    ask(learner, Train(request=1, round=ROUND, steps=3))
    neighbour: Trained = ask(other, Train(request=1, round=ROUND, steps=3))
    windows: list[int] = []

    def counting(states: tuple[State, ...], windows_WT: Windows, purpose: Purpose) -> Task[list[F32]]:
        windows.append(len(states) * len(windows_WT))
        return losses_of(states, windows_WT, purpose)

    monkeypatch.setattr("gossipllm.learning.measuring.evaluating.losses_of", counting)
    rows = ((0.9, 0.1), (0.5, 0.5), (0.2, 0.8), (1.0, 0.0))
    ask(learner, Evaluate(request=2, rows=rows, updates=(neighbour.update,)))
    assert sum(windows) == 3 * 8 + 8
