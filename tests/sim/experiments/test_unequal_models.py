"""A scenario whose peers have base models of unlike size and tokenizer."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import pytest
import torch

from gossipllm.config import LearnerConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.dealing.partitions import PartitionConfig
from gossipllm.text.in_bytes.bits import bits_per_byte
from peers.core.config import RoundConfig
from sim.adversaries.config import AttackConfig
from sim.experiments.configurations import learner_config
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.run import simulate
from sim.experiments.scenarios import Scenario, TextConfig
from sim.experiments.shares import read_by_peers, shares_of
from sim.world.devices import DevicesConfig
from trust.errors import UserMistake

MODELS = ("embedded-small", "embedded-1024", "embedded")
SIZES = Scenario(
    name="small",
    peers=3,
    seeds=(0,),
    methods=("local",),
    data=TextConfig(
        sources=("embedded:fr", "embedded:de", "embedded:en"),
        window_tokens=16,
        trust_windows=2,
        test_windows=4,
        partition=PartitionConfig(chunk_tokens=32, train_tokens=128, trust_tokens=64, test_tokens=64),
    ),
    devices=DevicesConfig(models=MODELS),
    round=RoundConfig(steps=2, rounds=2, barrier=True),
    training=TrainingConfig(batch_windows=2, warmup_steps=1),
    reference=ReferenceConfig(windows=5, window_tokens=4),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Generator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run() -> RunMetrics:
    return simulate(SIZES, "local", 0).metrics


def configs(scenario: Scenario) -> list[LearnerConfig]:
    return [learner_config(scenario, method_named("local"), 0, index) for index in range(scenario.peers)]


def test_peers_are_told_apart_by_their_models(run: RunMetrics) -> None:
    assert [one.device for one in run.peers] == list(MODELS)
    assert [one.rounds for one in run.peers] == [2, 2, 2]


def test_every_model_reads_every_text(run: RunMetrics) -> None:
    assert all(len(one.bits) == 3 for one in run.peers)
    small, other, large = (one.bits for one in run.peers)
    # All were pretrained on English.
    for bits in (small, other, large):
        assert min(bits) == bits[2]
        assert all(1.0 < one < 8.0 for one in bits)


def test_bits_a_byte_are_the_perplexity_in_other_units(run: RunMetrics) -> None:
    learners = configs(SIZES)
    pool = LearnerPool(learners[0], lambda _phase, _step: None)
    shares = read_by_peers(shares_of(SIZES, 0, pool), learners, pool)
    for index in (0, 2):
        best, test_WT = run.peers[index].best, shares[index].splits.test_WT
        assert best is not None
        assert len(test_WT) == SIZES.data.test_windows
        bits = bits_per_byte(math.log(best.test), test_WT, pool.base.tokenizer)
        assert run.peers[index].bits[index] == pytest.approx(bits, rel=1e-5)


def test_peers_of_one_model_are_measured_as_before() -> None:
    alike = replace(SIZES, devices=DevicesConfig())

    metrics = simulate(alike, "local", 0).metrics

    assert [one.bits for one in metrics.peers] == [(), (), ()]
    assert [one.device for one in metrics.peers] == ["", "", ""]


def test_a_pool_loads_each_model_once_and_counts_all_passes_together() -> None:
    first, second, third = configs(SIZES)
    pool = LearnerPool(first, lambda _phase, _step: None)

    assert pool.base_of(first) is pool.base
    assert pool.base_of(third) is pool.base_of(third) is not pool.base
    assert pool.base_of(second).vocabulary == 1024
    shares = read_by_peers(shares_of(SIZES, 0, pool), [first, second, third], pool)
    learners = [
        pool.new_learner(one, share.splits) for one, share in zip((first, third), shares[::2], strict=True)
    ]
    pool.test_losses(learners)
    assert pool.meter.forward["test"] == len(learners) * 4 * 16


def test_attackers_and_samples_want_equal_models() -> None:
    with pytest.raises(ValueError, match=r"attack\.name: attackers are for peers of one base model"):
        replace(SIZES, attack=AttackConfig(name="noise"))
    samples = replace(SIZES, data=replace(SIZES.data, sources=("lines:embedded:fr", "lines:embedded:de")))
    assert simulate(replace(samples, devices=DevicesConfig(models=MODELS[::2])), "local", 0).metrics.finished
    with pytest.raises(UserMistake, match=r"devices\.models: samples"):
        simulate(samples, "local", 0)
