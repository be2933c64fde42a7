"""The moving average of adapters: kept from round to round, measured where it is asked for, and a state like others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.jobs import LossJob
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.learning.training.iterate_average import (
    DECAY,
    between,
    weight_of,
    with_average_of,
    without_average,
)
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.text.windows import load_splits
from gossipllm.work import Averaged, Merged, Open, Opened, Progress, Restore, Train, Trained
from wire.digest import Content

Config = Callable[..., LearnerConfig]


def silent(_: Progress) -> None:
    pass


def opened(config: LearnerConfig, snapshot: Content | None = None) -> Learner:
    learner, reply = answer(None, Open(request=1, config=config, snapshot=snapshot), silent)
    assert isinstance(reply, Opened)
    assert learner is not None
    return learner


def train(learner: Learner, round_: int, average_from: float | None, *, steps: int = 3) -> Trained:
    request = Train(request=2, round=round_, steps=steps, average_from=average_from)
    _, reply = answer(learner, request, silent)
    assert isinstance(reply, Trained)
    return reply


def average_of(trained: Trained) -> Averaged:
    assert trained.average is not None
    return trained.average


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        np.allclose(one[name], other[name], rtol=0, atol=1e-6) for name in one
    )


def test_the_first_iterates_count_in_proportion_to_their_number_and_later_ones_a_fixed_share() -> None:
    assert [weight_of(count) for count in (1, 2, 3)] == [1.0, pytest.approx(2 / 3), 0.5]
    assert weight_of(20) == weight_of(1000) == pytest.approx(1 - DECAY)


def test_it_is_the_average_of_the_adapters_after_each_round(config: Config) -> None:
    learner = opened(config())
    states: list[State] = []
    for round_ in range(2):
        train(learner, round_, -math.inf)
        states.append(learner.state)
    trained = train(learner, 2, -math.inf)
    states.append(learner.state)
    mean: State = {
        name: np.average([state[name] for state in states], axis=0, weights=(1, 2, 3)) for name in states[0]
    }
    assert same(decode_snapshot(average_of(trained).snapshot.data).adapter, mean)
    assert not same(learner.state, mean), "training goes on from the last one"


def test_its_loss_is_that_of_a_learner_that_goes_back_to_it(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, -math.inf)
    average = average_of(train(learner, 1, -math.inf))
    _, back = answer(learner, Restore(request=3, snapshot=average.snapshot), silent)
    assert isinstance(back, Merged)
    assert back.trust_loss == pytest.approx(average.trust_loss, abs=1e-6)


def test_its_error_is_that_of_the_difference_from_the_last_iterate(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, -math.inf)
    average = average_of(train(learner, 1, -math.inf))
    base = learner.shared.base
    splits = load_splits(learner.config.data, base.tokenizer, context_length=base.context_length, seed=0)
    windows_WT = splits.trust_WT[: learner.config.data.trust_windows]
    states = (learner.state, decode_snapshot(average.snapshot.data).adapter)
    ((last_W, mean_W),) = learner.fleet.perform([LossJob(states, windows_WT, "test")])
    change_W = mean_W - last_W
    assert average.error == pytest.approx(change_W.std(ddof=1) / math.sqrt(len(change_W)), rel=1e-4)


def test_who_goes_back_to_it_goes_on_with_it(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, -math.inf)
    average = average_of(train(learner, 1, -math.inf)).snapshot
    answer(learner, Restore(request=3, snapshot=average), silent)
    two, after = learner.state, average_of(train(learner, 2, -math.inf))
    three: State = {name: between(value, learner.state[name], 1 / 2) for name, value in two.items()}
    assert same(decode_snapshot(after.snapshot.data).adapter, three)
    assert decode_snapshot(average.data).average == {}, "it is the adapter, and is stored once"


def test_who_goes_back_to_an_earlier_state_goes_on_with_the_average_of_that_time(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, -math.inf)
    earlier = train(learner, 1, -math.inf).snapshot
    want = average_of(train(learner, 2, -math.inf))
    for round_ in (3, 4):
        train(learner, round_, -math.inf)
    answer(learner, Restore(request=3, snapshot=earlier), silent)
    found = average_of(train(learner, 2, -math.inf))
    wanted, got = (decode_snapshot(one.snapshot.data).adapter for one in (want, found))
    assert same(wanted, got)


def test_who_goes_back_because_nothing_was_gained_keeps_the_present_average(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, -math.inf)
    earlier = train(learner, 1, -math.inf).snapshot
    present = decode_snapshot(average_of(train(learner, 2, -math.inf)).snapshot.data).adapter
    answer(learner, Restore(request=3, snapshot=earlier, keeps_average=True), silent)
    found = decode_snapshot(average_of(train(learner, 3, -math.inf)).snapshot.data).adapter
    four: State = {name: between(value, learner.state[name], 2 / 5) for name, value in present.items()}
    assert same(found, four)


def test_an_average_of_another_rank_is_not_kept(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, -math.inf)
    train(learner, 1, -math.inf)
    now = learner._memory.now
    pruned = replace(now, average={name: value[..., :1] for name, value in now.average.items()})
    assert with_average_of(now, pruned) is now
    assert with_average_of(now, without_average(now)) is now


def test_it_is_measured_only_where_steps_end_at_the_loss_that_is_asked_for_or_above(config: Config) -> None:
    above, below = opened(config()), opened(config())
    loss = train(above, 0, math.inf).trust_loss
    train(below, 0, math.inf)
    assert train(above, 1, loss - 1).average is not None
    assert train(below, 1, loss + 1).average is None
    assert train(below, 2, -math.inf).average is not None, "it was kept meanwhile"


def test_it_outlives_a_restart(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, math.inf)
    snapshot = train(learner, 1, math.inf).snapshot
    want = average_of(train(learner, 2, -math.inf))
    assert average_of(train(opened(config(), snapshot), 2, -math.inf)) == want


def test_rounds_without_steps_add_nothing(config: Config) -> None:
    learner = opened(config())
    train(learner, 0, math.inf)
    first = average_of(train(learner, 1, -math.inf))
    assert average_of(train(learner, 2, -math.inf, steps=0)).trust_loss == first.trust_loss


def test_who_is_not_asked_keeps_none_and_trains_the_same(config: Config) -> None:
    asked, plain = opened(config()), opened(config())
    for round_ in range(2):
        with_one, without = train(asked, round_, -math.inf), train(plain, round_, None)
        assert (with_one.update, with_one.trust_loss) == (without.update, without.trust_loss)
        assert decode_snapshot(without.snapshot.data).average == {}
    assert train(asked, 2, None).snapshot == train(plain, 2, None).snapshot, "and it can be given up"
