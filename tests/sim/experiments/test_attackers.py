"""Runs with attackers: they stand beside the honest peers, and what they do can be seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from gossipllm.config import ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from gossipllm.work import Trained
from peers.core.config import RoundConfig
from peers.core.events import Connected, Heard, Pulled
from sim.adversaries.config import AttackConfig
from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.table import ADVERSARIES, Adversary
from sim.experiments.run import Outcome, simulate
from sim.experiments.scenarios import Scenario, TextConfig
from sim.world.trace import Happened
from trust.record.history import Begun, Refusal, Round
from wire.codec import decode_announcement

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


@pytest.mark.parametrize("method", ["s3", "s1", "s2", "learned"])
def test_an_attacker_has_heard_this_rounds_honest_announcements_when_it_publishes(method: str) -> None:
    """With strategies that compare no predictions too, which peers then do not fetch."""
    _, events = attacked("copy", method)
    answers = {
        (one.peer, one.event.round): one.event.update.digest
        for one in events
        if isinstance(one.event, Trained)
    }

    # Predictions of the first round are shown only to those that announced theirs, so a copy of both comes later.
    assert answers[3, 1] in {answers[peer, 1] for peer in range(3)}


def test_whoever_announces_a_round_twice_is_found_out_by_all() -> None:
    outcome, _ = attacked("equivocation", "s3")
    refusals = [entry.record for entry in outcome.entries if isinstance(entry.record, Refusal)]

    assert {one.peer for one in refusals if one.field == "announcement.round"} == honest_ids(outcome)


def test_an_eclipsed_peer_sees_attackers_only() -> None:
    outcome, _ = attacked("eclipse", "s3")
    rounds = [entry.record for entry in outcome.entries if isinstance(entry.record, Round)]
    names = {
        entry.record.peer: entry.record.name for entry in outcome.entries if isinstance(entry.record, Begun)
    }
    seen = {names[one.peer]: {each.name for each in one.seen} for one in rounds}

    assert seen["peer-0"] == {"attacker-0"}
    assert seen["peer-1"] == {"peer-2"}


def test_sybils_reach_every_honest_peer_from_few_addresses() -> None:
    outcome, events = attacked("sybils", "s3", attackers=40.0)
    groups = {one.event.group for one in events if isinstance(one.event, Connected)}
    authors = {
        (one.peer, decode_announcement(one.event.frame).announcement.name)
        for one in events
        if isinstance(one.event, Heard)
    }

    assert outcome.metrics.finished
    assert outcome.metrics.attack is not None
    assert outcome.metrics.attack.attackers == 40
    assert len({group for group in groups if group.startswith("v4:203.0.113.")}) == 4
    assert {(peer, f"sybil-{number}") for peer in range(3) for number in range(40)} <= authors
    assert any(isinstance(one.event, Pulled) for one in events), "their updates can be fetched"


def test_the_success_of_a_backdoor_is_measured_on_honest_peers(averaging: Outcome) -> None:
    outcome, _ = attacked("backdoor", "fedavg", attackers=6.0)

    assert outcome.metrics.attack is not None
    assert outcome.metrics.attack.triggered == 1.0, "six of nine plain averages spread it"
    assert averaging.metrics.attack is not None
    assert averaging.metrics.attack.triggered is None


def honest_ids(outcome: Outcome) -> set[str]:
    begun = (entry.record for entry in outcome.entries if isinstance(entry.record, Begun))
    return {one.peer for one in begun if one.name.startswith("peer-")}


class PoisonedPredictions(Fault):
    """An honest adapter beside the predictions of its opposite."""

    def forged(self, scene: Scene) -> Forgery:
        opposite = scene.workshop.scaled(scene.state, -1.0)
        return Forgery(scene.state, scene.start, scene.workshop.predictions(opposite))


def test_poisoned_predictions_teach_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that helps does not carry predictions that are not its own into an honest peer."""
    monkeypatch.setitem(ADVERSARIES, "poisoned", Adversary("an honest adapter", PoisonedPredictions))
    scenario = replace(
        SMALL,
        methods=("s1+distil",),
        distil_share=1.0,
        round=RoundConfig(steps=8, rounds=2, barrier=True),
        reference=ReferenceConfig(windows=4, window_tokens=8),
        attack=AttackConfig(name="poisoned", attackers=1.0),
    )
    outcome = simulate(scenario, "s1+distil", 0)
    honest = honest_ids(outcome)
    rounds = [entry.record for entry in outcome.entries if isinstance(entry.record, Round)]
    ours = [one for one in rounds if one.peer in honest]
    tried = [seen for one in ours for seen in one.seen if seen.peer not in honest and seen.gain is not None]
    assert tried
    assert all(seen.left is not None and seen.weight == 0 for seen in tried)
    assert any(seen.left == "unbound" for seen in tried)
    assert any(one.distilled is not None for one in ours)
    assert all(one.trust_merged <= one.trust_alone for one in ours)
