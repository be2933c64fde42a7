"""Tests of what is compared: which settings are refused, and what the scenarios of arms have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gossipllm.model.loading.models import load_tokenizer
from gossipllm.text.reference import demo_share
from sim.experiments.method_settings import round_of
from sim.experiments.methods import method_named
from sim.pretraining.arms import ARMS, AWAY, PretrainConfig
from sim.pretraining.scenario import gradient_bytes, scenario_of

BASE = Path("base")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"peers": 1}, "peers must be in 2..64, got 1"),
        ({"steps": 100}, r"steps must be a multiple of round_steps \(16\), got 100"),
        ({"learning_rates": (1e-3, 0.0)}, r"learning_rates must be in \(0, 1\], got 0"),
        ({"learning_rates": ()}, "learning_rates must be different rates"),
        ({"learning_rates": (1e-3, 1e-3)}, "learning_rates must be different rates"),
        ({"sources": ()}, "sources must name at least one text"),
    ],
)
def test_a_comparison_that_cannot_be_run_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PretrainConfig(**given)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_takes_the_same_steps_on_text_that_is_read_once(name: str) -> None:
    config = PretrainConfig(steps=96, round_steps=24)

    scenario = scenario_of(config, ARMS[name], BASE, 5e-3)

    assert scenario.steps == 96
    assert (scenario.round.steps, scenario.round.rounds) == (24, 4)
    assert scenario.training.order == "once"
    windows = scenario.data.partition.train_tokens // scenario.data.window_tokens
    assert windows == 96 * scenario.training.batch_windows, "all of the text, and nothing twice"
    assert scenario.peers * windows * scenario.data.window_tokens == config.tokens
    assert scenario.annealed_of(0).decay_steps == 96


def test_the_shortest_of_the_embedded_texts_holds_its_part_of_what_the_defaults_read() -> None:
    config = PretrainConfig()
    partition = scenario_of(config, ARMS["all"], BASE, 5e-3).data.partition
    of_a_peer = partition.train_tokens + partition.trust_tokens + partition.test_tokens
    tokenizer: Any = load_tokenizer("embedded-1024", "model.name")

    least = min(len(tokenizer(demo_share(name, part=0, of=1))["input_ids"]) for name in ("en", "fr"))

    assert config.peers * of_a_peer / len(config.sources) < 0.95 * least


@pytest.mark.parametrize("name", ARMS)
def test_a_peer_merges_with_no_more_partners_in_a_round_than_its_arm_says(name: str) -> None:
    """Rows that are given in advance are over all peers, whatever the rounds say."""
    config, arm = PretrainConfig(peers=8), ARMS[name]
    scenario = scenario_of(config, arm, BASE, 5e-3)

    kept = round_of(method_named(arm.method), scenario.round, peers=config.peers)

    assert kept.most_partners == (arm.partners or 7)


def test_under_churn_a_peer_is_away_as_long_as_is_said() -> None:
    churn = scenario_of(PretrainConfig(), ARMS["churn"], BASE, 5e-3).conditions.churn

    up_s = 3600 / churn.crashes_per_hour
    assert churn.downtime_s / (up_s + churn.downtime_s) == pytest.approx(AWAY)


def test_averaged_gradients_cost_what_a_ring_sends() -> None:
    """Two devices exchange one number's bfloat16 each; of many, each sends nearly two."""
    assert gradient_bytes(PretrainConfig(peers=2, steps=32), 1000) == 32 * 1000 * 2
    assert gradient_bytes(PretrainConfig(peers=64, steps=32), 1000) == 32 * 1000 * 2 * 2 * 63 / 64
