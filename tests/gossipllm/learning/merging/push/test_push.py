"""Learners that mix by push-sum come to the mean that tokens weight, without rows and without knowing each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.merging.push.mass import MOST_EDGES
from gossipllm.learning.merging.push.push import Pushed, mass_length
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.text.windows import Splits, load_splits
from gossipllm.work import Absorb, Merged, Open, Opened, PushedShare, Train, Trained
from support.progress import silent
from wire.digest import Content
from wire.updates.tensors import Layout, TensorSpec

Config = Callable[..., LearnerConfig]
NAMES = ("ada", "bo", "cy")
ONE = Layout((TensorSpec("x", (1,)),))


def pool_of(config: LearnerConfig) -> tuple[LearnerPool, list[Learner]]:
    """Three learners, whose text is the longer the later they stand."""
    pool = LearnerPool(config, silent)
    return pool, [new_learner(pool, config, seed) for seed in range(len(NAMES))]


def new_learner(
    pool: LearnerPool, config: LearnerConfig, seed: int, snapshot: Content | None = None
) -> Learner:
    splits = load_splits(config.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=seed)
    train_WT = splits.train_WT.copy()
    train_WT[:, 6 * (seed + 2) :] = ~train_WT[:, 6 * (seed + 2) :]
    made = replace(config, training=replace(config.training, seed=seed))
    learner = pool.new_learner(made, Splits(train_WT, splits.trust_WT, splits.test_WT))
    (reply,) = pool.answer([(learner, Open(request=1, config=made, snapshot=snapshot))])
    assert isinstance(reply, Opened), reply
    assert reply.mass == sum(value.size for value in learner.state.values()) + 3
    return learner


def a_round(
    pool: LearnerPool, learners: list[Learner], number: int, *, steps: int = 2, lost: Any = ()
) -> list[Trained]:
    """All train and push to both others; what is `lost` does not arrive."""
    done: list[Any] = pool.answer(
        [
            (
                learner,
                Train(
                    request=2,
                    round=number,
                    steps=steps,
                    receivers=tuple(name for name in NAMES if name != me),
                ),
            )
            for me, learner in zip(NAMES, learners, strict=True)
        ]
    )
    pool.answer(
        [
            (learner, Absorb(request=3, shares=arrived(done, me, lost)))
            for me, learner in zip(NAMES, learners, strict=True)
        ]
    )
    return done


def arrived(done: list[Trained], me: str, lost: Any = ()) -> tuple[PushedShare, ...]:
    return tuple(
        PushedShare(peer=sender, round=share.round, content=share.content)
        for sender, reply in zip(NAMES, done, strict=True)
        for share in reply.shares
        if share.peer == me and (sender, me) not in lost
    )


def apart(learners: list[Learner]) -> float:
    first = learners[0].state
    return max(
        float(np.abs(one.state[name] - value).max()) for one in learners for name, value in first.items()
    )


@pytest.fixture
def pushing(config: Config) -> LearnerConfig:
    training = TrainingConfig(batch_windows=4, learning_rate=0.1, warmup_steps=0, optimiser="sgd")
    return config(mixing="push-sum", evidence=(), training=training)


def test_all_come_to_one_adapter_though_messages_are_lost(pushing: LearnerConfig) -> None:
    pool, learners = pool_of(pushing)
    a_round(pool, learners, 1, lost={("ada", "bo"), ("cy", "ada")})
    before = apart(learners)

    for number in range(2, 20):
        a_round(pool, learners, number, steps=0, lost={("bo", "cy")} if number % 3 else ())

    assert before > 1e-4
    assert apart(learners) < 1e-6


@pytest.mark.parametrize(
    ("alpha", "want"), [(1.0, (100 + 2 * 300 + 4 * 600) / 1000), (0.0, 7 / 3), (0.5, 2.7167)]
)
def test_what_they_come_to_weighs_gains_by_tokens_and_samples(alpha: float, want: float) -> None:
    gains, counts = (1.0, 2.0, 4.0), ((100, 10), (300, 10), (600, 10))
    peers = [Pushed.begin({"x": np.zeros(1, np.float32)}, ONE) for _ in NAMES]

    for number in range(1, 60):
        # By the thirtieth round all know how much the others train.
        peers = [
            one.after(np.array([gain * (number == 30)]), tokens=tokens, samples=samples, alpha=alpha)
            for one, gain, (tokens, samples) in zip(peers, gains, counts, strict=True)
        ]
        peers = exchanged(peers, number)

    for one in peers:
        assert one.estimate({}, ONE)["x"] == pytest.approx(want, rel=1e-4)


def exchanged(peers: list[Pushed], number: int) -> list[Pushed]:
    pushed = [
        one.pushed([name for name in NAMES if name != me], number)
        for me, one in zip(NAMES, peers, strict=True)
    ]
    return [
        one.absorbed(
            [
                PushedShare(peer=sender, round=number, content=share.content)
                for sender, (_, shares) in zip(NAMES, pushed, strict=True)
                for share in shares
                if share.peer == me
            ]
        )[0]
        for me, (one, _) in zip(NAMES, pushed, strict=True)
    ]


@pytest.mark.parametrize("train", ["both", "b", "heads", "full", "bias", "all"])
def test_what_is_frozen_has_no_mass(shape: Callable[..., Blueprint], draw: Any, train: str) -> None:
    form = shape(train=train)
    state = draw(form, 1)

    pushed = Pushed.begin(state, form.trained)
    found = pushed.estimate(state, form.trained)

    assert len(pushed.mass.state_M) == mass_length(form.trained) == form.trained.count + 3
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert (found[name] is value) == (name in form.frozen), name
        np.testing.assert_allclose(found[name], value, atol=1e-11)


def test_tokens_and_samples_count_as_the_configuration_says(pushing: LearnerConfig) -> None:
    ends: list[float] = []
    for alpha in (0.0, 1.0):
        pool, learners = pool_of(replace(pushing, tokens_alpha=alpha))
        for number in range(1, 4):
            a_round(pool, learners, number)
        ends.append(sum(float(np.abs(value).sum()) for value in learners[0].state.values()))

    assert ends[0] != pytest.approx(ends[1], rel=1e-5)


def test_it_learns(pushing: LearnerConfig) -> None:
    pool, learners = pool_of(replace(pushing, training=TrainingConfig(batch_windows=4, learning_rate=1e-2)))

    for number in range(1, 7):
        a_round(pool, learners, number)
    replies: list[Any] = pool.answer([(one, Absorb(request=4, shares=())) for one in learners])

    fresh = LearnerPool(pushing, silent)
    for learner, reply in zip(learners, replies, strict=True):
        untrained = new_learner(fresh, learner.config, learner.config.training.seed)
        (before,) = fresh.answer([(untrained, Absorb(request=4, shares=()))])
        assert isinstance(before, Merged)
        assert reply.test_merged < before.test_merged


def test_a_learner_that_was_closed_pushes_on_bit_for_bit(pushing: LearnerConfig) -> None:
    pool, learners = pool_of(pushing)
    done = a_round(pool, learners, 1)
    again = new_learner(pool, pushing, 1, done[1].snapshot)

    (reply,) = pool.answer([(again, Absorb(request=3, shares=arrived(done, "bo")))])

    assert isinstance(reply, Merged)
    assert again.snapshot() == learners[1].snapshot()


def test_a_share_that_comes_twice_counts_once_and_one_that_is_none_is_refused(pushing: LearnerConfig) -> None:
    pool, learners = pool_of(pushing)
    done = a_round(pool, learners, 1)
    before = learners[0].snapshot()
    shares = arrived(done, "ada")
    broken = PushedShare(peer="cy", round=2, content=Content.of(b"short"))

    (reply,) = pool.answer([(learners[0], Absorb(request=4, shares=(*shares, broken)))])

    assert isinstance(reply, Merged)
    assert reply.refused == ("cy",)
    assert reply.snapshot == before


def test_receivers_that_there_is_no_room_for_are_sent_no_share() -> None:
    one, names = (
        Pushed.begin({"x": np.ones(1, np.float32)}, ONE),
        [f"peer {n}" for n in range(MOST_EDGES + 5)],
    )

    one, shares = one.pushed(names, 1)
    assert [share.peer for share in shares] == names[:MOST_EDGES]

    _, later = one.pushed(names[-6:], 2)
    assert [share.peer for share in later] == names[MOST_EDGES - 1 : MOST_EDGES]
