"""A real learner, left alone for a hundred rounds, ends at the best state that it had, and not past it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gossipllm.config import ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from peers.core.plateau import NEVER_SETTLES, SettleConfig
from sim.experiments.run import Outcome, simulate
from sim.experiments.scenarios import Scenario, TextConfig
from trust.record.history import Round

LITTLE_TEXT = Scenario(
    name="small",
    peers=2,
    seeds=(0,),
    methods=("local",),
    anneal=False,
    data=TextConfig(
        sources=("embedded:fr", "embedded:de"),
        window_tokens=16,
        trust_windows=8,
        test_windows=2,
        partition=PartitionConfig(chunk_tokens=32, train_tokens=128, trust_tokens=128, test_tokens=64),
    ),
    round=RoundConfig(steps=2, rounds=100),
    settle=SettleConfig(patience=4, decays=1),
    training=TrainingConfig(batch_windows=4, learning_rate=2e-2, warmup_steps=1),
    reference=ReferenceConfig(windows=2, window_tokens=4),
)


@pytest.fixture(scope="module")
def settled() -> Outcome:
    return simulate(LITTLE_TEXT, "local", 0)


def rounds_of(outcome: Outcome) -> list[list[Round]]:
    peers: dict[str, list[Round]] = {}
    for entry in outcome.entries:
        if isinstance(entry.record, Round):
            peers.setdefault(entry.record.peer, []).append(entry.record)
    return list(peers.values())


def test_it_ends_within_half_a_per_cent_of_its_best_round(settled: Outcome) -> None:
    for rounds in rounds_of(settled):
        best = min(rounds, key=lambda one: one.trust_alone)
        last = rounds[-1]
        assert last.settled
        assert math.exp(last.trust_merged - best.trust_alone) <= 1.005
        assert math.exp(last.test_merged - best.test_alone) <= 1.005


def test_a_run_is_over_when_all_have_settled(settled: Outcome) -> None:
    assert settled.metrics.finished
    assert all(len(rounds) < 100 for rounds in rounds_of(settled))


def test_without_settling_it_is_far_past_it() -> None:
    rounds = replace(LITTLE_TEXT.round, rounds=20)
    never = simulate(replace(LITTLE_TEXT, settle=NEVER_SETTLES, round=rounds), "local", 0)
    for peer in rounds_of(never):
        assert len(peer) == 20
        assert peer[-1].trust_merged > min(one.trust_alone for one in peer) + 0.1


def test_with_decay_a_method_lowers_its_rate_and_rests_whatever_the_scenario_says_of_rounds() -> None:
    scenario = replace(LITTLE_TEXT, settle=NEVER_SETTLES, round=replace(LITTLE_TEXT.round, rounds=30))
    for rounds in rounds_of(simulate(scenario, "local+decay", 0)):
        rates = [one.rate for one in rounds]
        assert rates == sorted(rates, reverse=True)
        assert len(set(rates)) == 3
        assert rounds[-1].settled
