"""What counts as a peer's result: its best state by its own trust split, and what it trained on to come there."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch

from gossipllm.config import AdapterConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.dealing.partitions import PartitionConfig, Share
from peers.core.config import RoundConfig
from sim.experiments.configurations import learner_config
from sim.experiments.measuring.best_states import averages_iterates
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.run import simulate
from sim.experiments.scenarios import Scenario, TextConfig
from sim.experiments.shares import shares_of, with_text_of
from trust.errors import UserMistake

SMALL = Scenario(
    name="small",
    peers=4,
    seeds=(0,),
    data=TextConfig(
        sources=("embedded:fr", "embedded:de"),
        window_tokens=16,
        trust_windows=2,
        test_windows=2,
        partition=PartitionConfig(chunk_tokens=32, train_tokens=128, trust_tokens=64, test_tokens=64),
    ),
    round=RoundConfig(steps=1, rounds=3, barrier=True),
    training=TrainingConfig(batch_windows=2, warmup_steps=1),
    reference=ReferenceConfig(windows=5, window_tokens=4),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Generator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs() -> dict[str, RunMetrics]:
    return {name: simulate(SMALL, name, 0).metrics for name in ("local", "s3")}


@pytest.mark.parametrize("method", ["local", "s3"])
def test_the_best_state_has_the_least_trust_loss_of_all_and_is_measured_on_the_test_split(
    method: str, runs: dict[str, RunMetrics]
) -> None:
    for peer in runs[method].peers:
        states = [(point.trust_alone, point.before) for point in peer.course]
        states += [(point.trust_merged, point.after) for point in peer.course]
        assert peer.best is not None
        assert (peer.best.trust, pytest.approx(peer.best.test)) in states
        assert peer.best.trust == min(trust for trust, _ in states)
        assert math.exp(np.mean(peer.best.windows)) == pytest.approx(peer.best.test, rel=1e-5)


def test_every_peer_averages_its_own_iterates_but_where_they_do_not_stand_by_themselves(
    runs: dict[str, RunMetrics],
) -> None:
    for metrics in runs.values():
        assert all(set(peer.averages) == {"mean", "ema"} for peer in metrics.peers)
    assert not averages_iterates(method_named("pushsum"), SMALL)
    assert not averages_iterates(
        method_named("local"),
        replace(SMALL, methods=("local",), merge="pad", adapter=AdapterConfig(prune=0.9)),
    )


def test_the_average_of_a_single_iterate_is_that_iterate() -> None:
    once = replace(SMALL, round=replace(SMALL.round, rounds=1), anneal=False)
    for peer in simulate(once, "local", 0).metrics.peers:
        assert peer.best is not None
        for average in peer.averages.values():
            assert average.windows == pytest.approx(peer.best.windows, abs=1e-5)
            assert average.trust == pytest.approx(peer.best.trust, abs=1e-5)


def test_a_course_counts_tokens_bytes_and_time(runs: dict[str, RunMetrics]) -> None:
    for peer in runs["s3"].peers:
        first, *_, last = peer.course
        assert (first.tokens, last.tokens) == (2 * 15, 3 * 2 * 15)
        assert 0 < first.sent < last.sent <= sum(peer.sent.values())
        assert 0 < first.seconds < last.seconds


def test_a_run_ends_once_no_peer_becomes_better() -> None:
    # A large rate finds a better state by chance now and then; one that float32 cannot see never does.
    still = replace(SMALL.training, learning_rate=1e-12)
    hopeless = replace(SMALL, training=still, patience=2, round=replace(SMALL.round, rounds=40))
    metrics = simulate(hopeless, "local", 0).metrics
    assert metrics.finished
    assert max(peer.rounds for peer in metrics.peers) < 5


# -- what a method changes --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool() -> LearnerPool:
    return LearnerPool(learner_config(SMALL, method_named("local"), 0, 0), lambda _phase, _step: None)


@pytest.fixture(scope="module")
def dealt(pool: LearnerPool) -> tuple[Share, ...]:
    return shares_of(SMALL, 0, pool)


def trained_on(method: str, dealt: tuple[Share, ...], pool: LearnerPool) -> list[set[bytes]]:
    shares = with_text_of(method_named(method), dealt, SMALL, pool)
    for before, after in zip(dealt, shares, strict=True):
        assert after.splits.test_WT is before.splits.test_WT
        assert after.splits.trust_WT is before.splits.trust_WT
    return [{window.tobytes() for window in share.splits.train_WT} for share in shares]


def test_pooled_training_has_the_training_text_of_all_peers_of_the_kind_and_no_other(
    dealt: tuple[Share, ...], pool: LearnerPool
) -> None:
    own, pooled = trained_on("local", dealt, pool), trained_on("pooled", dealt, pool)
    assert pooled == [own[0] | own[2], own[1] | own[3]] * 2
    test = {window.tobytes() for share in dealt for window in share.splits.test_WT}
    assert not any(test & windows for windows in pooled)


def test_training_on_everybodys_text_is_the_same_for_all(dealt: tuple[Share, ...], pool: LearnerPool) -> None:
    own, everybody = trained_on("local", dealt, pool), trained_on("everybody", dealt, pool)
    assert everybody == [set[bytes]().union(*own)] * len(own)


def test_training_on_the_trust_split_adds_that_split_alone(
    dealt: tuple[Share, ...], pool: LearnerPool
) -> None:
    for own, more, share in zip(
        trained_on("local", dealt, pool), trained_on("local+trust", dealt, pool), dealt, strict=True
    ):
        assert more == own | {window.tobytes() for window in share.splits.trust_WT}


def test_training_on_the_public_text_adds_the_same_windows_for_all(
    dealt: tuple[Share, ...], pool: LearnerPool
) -> None:
    own, more = trained_on("local", dealt, pool), trained_on("local+public", dealt, pool)
    added = [its - before for its, before in zip(more, own, strict=True)]
    assert len(added[0]) > 100
    assert all(windows == added[0] for windows in added)


def test_samples_are_not_mixed_with_text_of_other_lengths(
    dealt: tuple[Share, ...], pool: LearnerPool
) -> None:
    lines = replace(SMALL, data=replace(SMALL.data, sources=("lines:embedded:java",)))
    with pytest.raises(UserMistake, match="running text"):
        with_text_of(method_named("local+public"), dealt, lines, pool)
