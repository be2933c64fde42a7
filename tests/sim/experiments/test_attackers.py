"""Runs with attackers: they stand beside the honest peers, and what they do can be seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from gossipllm.config import ReferenceConfig, TrainingConfig
from gossipllm.text.partitions import PartitionConfig
from gossipllm.work import Trained
from peers.core.config import RoundConfig
from sim.adversaries.config import AttackConfig
from sim.experiments.run import Outcome, simulate
from sim.experiments.scenarios import Scenario, TextConfig
from sim.world.trace import Happened

SMALL = Scenario(
    name="small",
    peers=3,
    seeds=(0,),
    methods=("local",),
    data=TextConfig(
        sources=("embedded:fr",),
        window_tokens=16,
        trust_windows=2,
        test_windows=2,
        partition=PartitionConfig(chunk_tokens=32, train_tokens=128, trust_tokens=64, test_tokens=64),
    ),
    round=RoundConfig(steps=4, rounds=2, barrier=True),
    training=TrainingConfig(batch_windows=2, warmup_steps=1, learning_rate=1e-2),
    reference=ReferenceConfig(windows=2, window_tokens=4),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def attacked(name: str, method: str, attackers: float = 1.0) -> tuple[Outcome, list[Happened]]:
    events: list[Happened] = []

    def take(happened: Iterable[Happened]) -> None:
        events.extend(happened)

    scenario = replace(SMALL, attack=AttackConfig(name=name, attackers=attackers))
    return simulate(scenario, method, 0, on_events=take), events


def perplexities(outcome: Outcome) -> list[float]:
    return [one.after or 0.0 for one in outcome.metrics.peers]


@pytest.fixture(scope="module")
def averaging() -> Outcome:
    """Plain averaging with two attackers beside three honest peers."""
    return attacked("sign-flip-10", "fedavg", attackers=0.4)[0]


def test_honest_peers_that_train_alone_notice_no_attack() -> None:
    outcome, _ = attacked("sign-flip-10", "local")

    assert perplexities(outcome) == perplexities(simulate(SMALL, "local", 0))


def test_a_plain_average_is_ruined(averaging: Outcome) -> None:
    """The check that an attack attacks: without any defence, it does harm."""
    peaceful = simulate(SMALL, "fedavg", 0)

    for harmed, whole in zip(perplexities(averaging), perplexities(peaceful), strict=True):
        assert harmed > 1.02 * whole > 0


def test_metrics_are_of_honest_peers_and_tell_what_the_attackers_got(averaging: Outcome) -> None:
    metrics = averaging.metrics

    assert [one.name for one in metrics.peers] == ["peer-0", "peer-1", "peer-2"]
    assert metrics.attack is not None
    assert metrics.attack.attackers == 2
    assert metrics.attack.weights == pytest.approx((2 / 5, 2 / 5))
    assert metrics.attack.largest == pytest.approx(2 / 5)
    assert metrics.attack.rounds == 6
    assert len(averaging.snapshots) == 3
    assert len({entry.record.peer for entry in averaging.entries}) == 5, "the history shows all peers"


def test_an_attacker_has_heard_this_rounds_honest_announcements_when_it_publishes() -> None:
    _, events = attacked("copy", "s3")
    answers = {
        (one.peer, one.event.round): one.event.update.digest
        for one in events
        if isinstance(one.event, Trained)
    }

    for round_ in range(2):
        honest = {answers[peer, round_] for peer in range(3)}
        assert answers[3, round_] in honest
