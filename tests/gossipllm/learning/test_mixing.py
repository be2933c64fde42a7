"""What a row gives: parameters, updates, frozen factors; and rows that are learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig, TrainingConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.windows import load_splits
from gossipllm.work import (
    Evaluate,
    Evaluated,
    Fit,
    Fitted,
    Merge,
    Merged,
    Open,
    Opened,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from support.progress import silent
from wire.digest import Content

Config = Callable[..., LearnerConfig]


def pool_of(config: LearnerConfig, peers: int) -> tuple[LearnerPool, list[Learner]]:
    pool = LearnerPool(config, silent)
    learners = [new_learner(pool, config, seed) for seed in range(peers)]
    for reply in pool.answer([(one, Open(request=1, config=config, snapshot=None)) for one in learners]):
        assert isinstance(reply, Opened), reply
    return pool, learners


def new_learner(pool: LearnerPool, config: LearnerConfig, seed: int) -> Learner:
    splits = load_splits(config.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=seed)
    return pool.new_learner(replace(config, training=replace(config.training, seed=seed)), splits)


def trained(pool: LearnerPool, learners: list[Learner], number: int = 1) -> list[Trained]:
    return pool.answer([(one, Train(request=2, round=number, steps=4)) for one in learners])  # pyright: ignore[reportReturnType]


def merged(pool: LearnerPool, learner: Learner, row: tuple[float, ...], others: list[Trained]) -> Any:
    (reply,) = pool.answer([(learner, Merge(request=3, row=row, updates=tuple(o.update for o in others)))])
    assert isinstance(reply, Merged), reply
    return reply


def test_a_pool_trains_each_as_it_would_alone(config: Config) -> None:
    pool, learners = pool_of(config(), 3)
    together = trained(pool, learners)
    alone_pool, alone = pool_of(config(), 3)

    for learner, done in zip(alone, together, strict=True):
        (by_itself,) = trained(alone_pool, [learner])
        assert by_itself.train_loss == pytest.approx(done.train_loss, rel=1e-5)
        assert by_itself.tokens == done.tokens


def test_with_equal_starts_mixing_updates_is_mixing_parameters(config: Config) -> None:
    states: list[Any] = []
    for mixing in ("parameters", "updates"):
        pool, learners = pool_of(config(mixing=mixing, merge="mean"), 2)
        other = trained(pool, learners)[1]
        merged(pool, learners[0], (0.3, 0.7), [other])
        states.append(learners[0].state)

    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, atol=1e-3)


def test_mixing_updates_keeps_ones_own_place(config: Config) -> None:
    pool, learners = pool_of(config(mixing="updates", merge="mean"), 2)
    first = trained(pool, learners)
    merged(pool, learners[0], (1.0, 0.0), [first[1]])
    start = {name: value.copy() for name, value in learners[0].state.items()}
    their_start = dict(learners[1].state)
    second = trained(pool, learners, 2)
    gain = {name: value - their_start[name] for name, value in learners[1].state.items()}

    merged(pool, learners[0], (0.0, 1.0), [second[1]])

    for name, value in learners[0].state.items():
        np.testing.assert_allclose(value, start[name] + gain[name], atol=4e-3, err_msg=name)


def test_a_learner_that_mixes_updates_resumes_with_its_start(config: Config) -> None:
    pool, learners = pool_of(config(mixing="updates"), 1)
    (done,) = trained(pool, learners)
    again = new_learner(pool, config(mixing="updates"), 0)

    pool.answer([(again, Open(request=1, config=config(mixing="updates"), snapshot=done.snapshot))])

    assert again.snapshot() == done.snapshot


def test_with_a_frozen_the_mean_is_exact_and_half_the_bytes_travel(config: Config) -> None:
    pool, learners = pool_of(config(adapter=AdapterConfig(rank=4, alpha=8.0, train="b"), merge="mean"), 2)
    whole, both = pool_of(config(), 1)
    (full,) = trained(whole, both)
    _, other = trained(pool, learners)

    reply = merged(pool, learners[0], (0.5, 0.5), [other])

    assert reply.discarded == pytest.approx(0, abs=1e-6)
    assert other.update.size < 0.7 * full.update.size


def test_own_starts_make_factors_unlike(config: Config) -> None:
    shared, ours = pool_of(config(merge="mean"), 2)
    own, theirs = pool_of(config(merge="mean", adapter=AdapterConfig(rank=4, alpha=8.0, start="own")), 2)
    kept = merged(shared, ours[0], (0.5, 0.5), [trained(shared, ours)[1]])
    lost = merged(own, theirs[0], (0.5, 0.5), [trained(own, theirs)[1]])

    assert kept.discarded < 0.6 * lost.discarded, "averages of unlike A lose most of the mixture"


def test_a_learned_row_prefers_who_helps(config: Config) -> None:
    pool, learners = pool_of(config(training=TrainingConfig(batch_windows=4, learning_rate=1e-2)), 3)
    replies = trained(pool, learners)
    for number in range(2, 5):
        replies[1] = trained(pool, [learners[1]], number)[0]
    updates = (replies[1].update, replies[2].update)
    harmful = pool.answer([(learners[2], Train(request=5, round=9, steps=1))])[0]
    assert isinstance(harmful, Trained)

    uniform = (1 / 3,) * 3
    (fitted,) = pool.answer([(learners[0], Fit(request=4, row=uniform, updates=updates, steps=12, rate=0.3))])
    assert isinstance(fitted, Fitted)
    (tried,) = pool.answer([(learners[0], Evaluate(request=5, rows=(uniform, fitted.row), updates=updates))])
    assert isinstance(tried, Evaluated)

    assert sum(fitted.row) == pytest.approx(1)
    assert max(fitted.row) == fitted.row[1], "three rounds ahead on text of the same kind"
    assert tried.losses[1] < tried.losses[0]
    assert fitted.losses[0] > fitted.losses[-1]


@pytest.mark.parametrize(
    ("kind", "positions"),
    [
        ("progress", "all"),
        ("parameters", "all"),
        ("row-cosines", "all"),
        ("perplexity", "all"),
        ("logits", "last"),
    ],
)
def test_published_evidence_is_measured(config: Config, kind: Any, positions: Any) -> None:
    made = config()
    made = replace(made, evidence=(kind,), reference=replace(made.reference, positions=positions))
    pool, learners = pool_of(made, 2)
    mine, other = trained(pool, learners)

    replies = pool.answer(
        [
            (learners[0], Weigh(request=3, author="x", update=one.update, evidence=one.evidence))
            for one in (mine, other)
        ]
    )

    itself, neighbour = replies
    assert isinstance(itself, Weighed)
    assert isinstance(neighbour, Weighed)
    if kind == "progress":
        assert itself.distances[0] == pytest.approx(itself.own[0], rel=0.05), "rounding of the update"
        assert itself.own[0] < 0, "training gained something"
    elif kind == "perplexity":
        assert itself.distances != (0.0,), "windows are drawn anew for each pair"
    else:
        assert itself.own == (0.0,)
        assert itself.distances[0] == pytest.approx(0, abs=1e-3)
        assert neighbour.distances[0] > itself.distances[0]


@pytest.mark.parametrize("reduction", ["tokens", "sequences"])
def test_a_row_is_learned_for_the_mean_that_trust_losses_are(config: Config, reduction: Any) -> None:
    """Of windows that bear loss on unequally many tokens the two means differ."""
    made = config(
        training=TrainingConfig(batch_windows=4, learning_rate=1e-2, reduction=reduction), merge="mean"
    )
    pool, (_, author) = pool_of(made, 2)
    (other,) = trained(pool, [author])
    splits = load_splits(made.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=0)
    trust_WT = splits.trust_WT.copy()
    trust_WT[::2, 4:] = ~0
    learner = pool.new_learner(made, replace(splits, trust_WT=trust_WT))
    row = (0.5, 0.5)

    fitted, tried = pool.answer(
        [
            (learner, Fit(request=4, row=row, updates=(other.update,), steps=1, rate=0.3)),
            (learner, Evaluate(request=5, rows=(row,), updates=(other.update,))),
        ]
    )

    assert isinstance(fitted, Fitted)
    assert isinstance(tried, Evaluated)
    assert fitted.losses[0] == pytest.approx(tried.losses[0], rel=1e-5)


def test_a_row_learned_for_updates_is_learned_for_gains(config: Config) -> None:
    """A neighbour far away that gained nothing: its state would be taken, its gain is worth nothing."""
    for mixing in ("parameters", "updates"):
        pool, learners = pool_of(config(mixing=mixing, merge="mean"), 2)
        own, other = trained(pool, learners)
        for number in range(2, 6):
            (other,) = trained(pool, [learners[1]], number)
        idle = pool.answer([(learners[1], Train(request=9, round=6, steps=0))])[0]
        assert isinstance(idle, Trained)

        (fitted,) = pool.answer(
            [(learners[0], Fit(request=4, row=(0.5, 0.5), updates=(idle.update,), steps=12, rate=0.3))]
        )

        assert isinstance(fitted, Fitted)
        assert (fitted.row[1] > 0.5) == (mixing == "parameters")
        assert own.update != other.update


def test_a_neighbour_of_huge_numbers_spoils_no_learned_row_but_its_own(config: Config) -> None:
    pool, learners = pool_of(config(clip=0.0), 2)
    own, _ = trained(pool, learners)
    huge = Content.of(own.update.data[:4] + b"\x7f\x7f" * (own.update.size // 2 - 2))

    (fitted,) = pool.answer(
        [(learners[0], Fit(request=4, row=(0.5, 0.5), updates=(huge,), steps=5, rate=0.3))]
    )

    assert isinstance(fitted, Fitted)
    assert sum(fitted.row) == pytest.approx(1)
    assert len(fitted.losses) == 1, "no more passes are spent on what is no number"


def test_progress_of_a_huge_update_is_a_number(config: Config) -> None:
    pool, learners = pool_of(config(evidence=("progress",)), 2)
    own, _ = trained(pool, learners)
    # 3e19 in every A beside a B of nothing computes like the base, and its square is no float32.
    first = len(next(iter(learners[0].state.values())).ravel())
    data = own.update.data[:4] + b"\xd0\x5f" * first + bytes(own.update.size - 4 - 2 * first)

    (weighed,) = pool.answer(
        [(learners[0], Weigh(request=3, author="x", update=Content.of(data), evidence=own.evidence))]
    )

    assert isinstance(weighed, Weighed)
    assert np.isfinite(weighed.distances[0])


def test_fedfomo_measures_from_the_same_place_after_a_crash(config: Config) -> None:
    made = config(evidence=("progress",))
    pool, learners = pool_of(made, 2)
    own, other = trained(pool, learners)
    again = new_learner(pool, made, 0)
    pool.answer([(again, Open(request=1, config=made, snapshot=own.snapshot))])

    weigh = Weigh(request=3, author="x", update=other.update, evidence=other.evidence)
    before, after = pool.answer([(learners[0], weigh), (again, weigh)])

    assert before == after
