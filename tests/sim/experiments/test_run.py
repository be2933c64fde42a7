"""Runs in this process with the embedded model: their results, and what methods of one seed share."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from sim.experiments.results import RunWriter, configurations, finished_run, results_digest
from sim.experiments.run import Outcome, simulate
from sim.experiments.scenarios import Scenario, TextConfig
from sim.world.conditions import ChurnConfig, ComputeConfig, Conditions
from sim.world.devices import DevicesConfig
from sim.world.trace import Happened
from trust.errors import UserMistake
from trust.record.history import Round
from trust.record.log import read_history
from trust.rows.config import TrustConfig

SMALL = Scenario(
    name="small",
    peers=4,
    seeds=(0,),
    methods=("local",),
    data=TextConfig(
        sources=("embedded:fr", "embedded:de"),
        window_tokens=16,
        trust_windows=2,
        test_windows=2,
        partition=PartitionConfig(chunk_tokens=32, train_tokens=128, trust_tokens=64, test_tokens=64),
    ),
    round=RoundConfig(steps=1, rounds=2, barrier=True),
    training=TrainingConfig(batch_windows=2, warmup_steps=1),
    reference=ReferenceConfig(windows=5, window_tokens=4),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs() -> dict[str, Outcome]:
    return {name: simulate(SMALL, name, 0) for name in ("local", "theoretical", "s3")}


def test_every_peer_does_and_records_all_its_rounds(runs: dict[str, Outcome]) -> None:
    for outcome in runs.values():
        assert outcome.metrics.finished
        assert [one.rounds for one in outcome.metrics.peers] == [2] * 4
        assert [point.round for point in outcome.metrics.curve] == [0, 1]
        for one in outcome.metrics.peers:
            assert math.isclose(sum(one.row), 1, abs_tol=1e-9)
            assert one.before is not None
            assert one.after is not None
            assert one.before > 1
            assert one.after > 1


def test_theoretical_rows_name_the_peers_with_the_same_text(runs: dict[str, Outcome]) -> None:
    alike = np.kron(np.ones((2, 2)), np.eye(2)) / 2
    metrics = runs["theoretical"].metrics
    assert [one.category for one in metrics.peers] == ["fr", "de", "fr", "de"]
    np.testing.assert_allclose(metrics.oracle, alike)
    np.testing.assert_allclose(metrics.rows_NN, alike, atol=1e-9)
    assert all(one.same == pytest.approx(1) for one in metrics.peers)


def test_methods_of_a_seed_are_the_same_until_their_first_merge(runs: dict[str, Outcome]) -> None:
    bases = {tuple(one.base for one in outcome.metrics.peers) for outcome in runs.values()}
    assert len(bases) == 1
    assert len({outcome.metrics.curve[0].before for outcome in runs.values()}) == 1


def test_another_seed_gives_other_shares_of_text(runs: dict[str, Outcome]) -> None:
    other = simulate(SMALL, "local", 1)
    assert other.metrics.trace != runs["local"].metrics.trace
    assert other.metrics.curve[0].before != runs["local"].metrics.curve[0].before


def test_a_repeated_run_has_equal_results(runs: dict[str, Outcome]) -> None:
    assert simulate(SMALL, "s3", 0).metrics == runs["s3"].metrics


def test_training_alone_costs_no_evidence(runs: dict[str, Outcome]) -> None:
    cost = {name: outcome.metrics.forward for name, outcome in runs.items()}
    assert cost["local"]["train"] == cost["s3"]["train"] == 2 * 4 * 1 * 2 * 16
    assert cost["local"]["evidence"] < cost["s3"]["evidence"]
    assert cost["local"]["trust"] < cost["s3"]["trust"]


LINES = replace(
    SMALL,
    data=TextConfig(
        sources=("lines:embedded:java",),
        window_tokens=32,
        train_samples=4,
        trust_samples=2,
        test_samples=2,
        trust_windows=2,
        test_windows=2,
        partition=PartitionConfig(kind="length"),
    ),
    trust=TrustConfig(tokens_cap=1000.0),
    methods=("tokens",),
)


def test_weights_by_tokens_are_proportional_to_the_tokens_trained_on() -> None:
    outcome = simulate(LINES, "tokens", 0)
    assert [one.device for one in outcome.metrics.peers] == ["short", "short", "medium", "long"]
    rounds = [entry.record for entry in outcome.entries if isinstance(entry.record, Round)]
    tokens = {one.peer: one.tokens for one in rounds if one.round == 1}
    assert max(tokens.values()) > 3 * min(tokens.values())
    whole = sum(tokens.values())
    for record in (one for one in rounds if one.round == 1):
        assert record.self_weight == pytest.approx(tokens[record.peer] / whole)
        for one in record.seen:
            assert one.weight == pytest.approx(tokens[one.peer] / whole)


def test_push_sum_needs_no_rows_and_comes_to_one_adapter() -> None:
    metrics = simulate(LINES, "pushsum", 0).metrics
    assert metrics.finished
    assert all(one.effective == pytest.approx(1) for one in metrics.peers)
    assert all(one.sent["blob"] > 0 for one in metrics.peers)


def test_peers_of_unlike_ranks_send_unlike_bytes_and_all_take_part() -> None:
    unlike = replace(SMALL, devices=DevicesConfig(ranks=(2, 16)))
    peers = simulate(unlike, "fedavg+svd", 0).metrics.peers
    assert [one.device for one in peers] == ["rank 2", "rank 16", "rank 2", "rank 16"]
    assert peers[1].sent["blob"] > 4 * peers[0].sent["blob"]
    assert all(one.effective == pytest.approx(4) for one in peers)


@pytest.mark.parametrize(
    ("name", "parts", "share"),
    [
        ("fedavg+layers", replace(SMALL, layers=LayersConfig(count=1)), 1 / 4),
        (
            "fedavg+heads",
            replace(SMALL, heads=HeadsConfig(copies=2), adapter=AdapterConfig(train="heads")),
            1 / 2,
        ),
    ],
)
def test_a_peer_that_trains_a_part_sends_a_part(name: str, parts: Scenario, share: float) -> None:
    parts = replace(parts, methods=(name,))
    outcome = simulate(parts, name, 0)
    whole = simulate(parts, "fedavg", 0)
    offered = {
        one: [
            entry.record.offered
            for entry in run.entries
            if isinstance(entry.record, Round) and entry.record.round
        ]
        for one, run in (("part", outcome), ("whole", whole))
    }
    assert sum(offered["part"]) == pytest.approx(share * sum(offered["whole"]), rel=0.01)
    assert outcome.metrics.finished


def test_too_little_text_is_a_user_error() -> None:
    data = replace(SMALL.data, partition=replace(SMALL.data.partition, train_tokens=10**7))
    with pytest.raises(UserMistake):
        simulate(replace(SMALL, data=data), "local", 0)
    with pytest.raises(UserMistake, match="takes at most"):
        simulate(replace(SMALL, data=replace(SMALL.data, window_tokens=4096)), "local", 0)


def test_a_late_peer_and_a_crashed_peer_finish_their_rounds() -> None:
    churn = ChurnConfig(late=("peer-3 at 8",), outages=("peer-0 from 1.5 to 4",))
    conditions = Conditions(compute=ComputeConfig(step_s=1.0), churn=churn)
    lone = replace(SMALL, conditions=conditions, round=RoundConfig(steps=1, rounds=3, patience_s=1.0))
    metrics = simulate(lone, "fedavg", 0).metrics
    assert metrics.finished
    assert [one.rounds for one in metrics.peers] == [3] * 4
    assert metrics.virtual_s > 8


def test_a_run_ends_at_its_limit_and_says_so() -> None:
    slow = replace(SMALL, conditions=Conditions(compute=ComputeConfig(step_s=100.0)), limit_s=150.0)
    metrics = simulate(slow, "local", 0).metrics
    assert not metrics.finished
    assert [one.rounds for one in metrics.peers] == [1] * 4


def test_a_runs_folder_holds_the_history_the_events_and_the_numbers(tmp_path: Path) -> None:
    seen: list[Happened] = []
    writer = RunWriter(tmp_path / "run", "configuration")

    def on_events(events: Iterable[Happened]) -> None:
        seen.extend(events)
        writer.events(events)

    outcome = simulate(SMALL, "s3", 0, on_events=on_events)
    assert not (tmp_path / "run").exists()
    clock = writer.finish(outcome.metrics, outcome.entries)
    assert finished_run(tmp_path / "run", "configuration") == (outcome.metrics, clock)
    assert finished_run(tmp_path / "run", "another") is None
    assert read_history(tmp_path / "run" / "history.msgpack").entries == outcome.entries
    packed = (tmp_path / "run" / "events.jsonl.gz").read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    assert [line["event"]["kind"] for line in lines] == [type(one.event).__name__ for one in seen]
    assert {"Train", "Merge", "Log"} <= {one["kind"] for line in lines for one in line["effects"]}
    again = RunWriter(tmp_path / "again" / "run", "configuration")
    again.events(seen)
    again.finish(outcome.metrics, outcome.entries)
    digests = {results_digest(folder, [folder / "run"], ()) for folder in (tmp_path, tmp_path / "again")}
    assert len(digests) == 1


def test_a_configuration_changes_its_digest_with_every_setting_that_matters() -> None:
    def digest(scenario: Scenario) -> str:
        return configurations(scenario)["local", 0]

    same = digest(SMALL)
    assert digest(replace(SMALL, name="other", seeds=(0, 1), methods=("local", "s3"))) == same
    assert digest(replace(SMALL, peers=5)) != same
    assert digest(replace(SMALL, round=RoundConfig(steps=2, rounds=2, barrier=True))) != same
    other = replace(SMALL.data, sources=("embedded:fr", "embedded:it"))
    assert digest(replace(SMALL, data=other)) != same
    every = configurations(replace(SMALL, seeds=(0, 1), methods=("local", "s3")))
    assert len(set(every.values())) == 4
