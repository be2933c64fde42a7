"""The scenario of an arm, and the bytes that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gossipllm.config import AdapterConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from sim.experiments.scenarios import Scenario, TextConfig
from sim.pretraining.arms import AWAY, Arm, PretrainConfig
from sim.world.conditions import ChurnConfig, Conditions

_LIFE_S: Final = 14.0
"""Mean virtual seconds that a peer is up under churn before it crashes: a few rounds."""
_GRADIENT_BYTES: Final = 2
"""Bytes of a number of a gradient, in bfloat16. Papers that count float32 come to twice the ratio."""
_TRUST_WINDOWS: Final = 16
_TEST_WINDOWS: Final = 32
"""Windows of a peer; one process is measured on those of all peers."""


def scenario_of(config: PretrainConfig, arm: Arm, base: Path, rate: float) -> Scenario:
    """The runs of an arm at this learning rate."""
    partners = min(arm.partners or config.peers, config.peers - 1)
    churn = ChurnConfig()
    if arm.churn:
        churn = ChurnConfig(crashes_per_hour=3600 / _LIFE_S, downtime_s=_LIFE_S * AWAY / (1 - AWAY))
    window = config.window_tokens
    return Scenario(
        name="pretrain",
        peers=config.peers,
        seeds=(config.seed,),
        methods=(arm.method,),
        merge="mean",
        clip=0.0,
        packing=arm.packing,
        outer_momentum=arm.momentum,
        outer_rate=arm.rate,
        data=TextConfig(
            sources=config.sources,
            window_tokens=window,
            trust_windows=_TRUST_WINDOWS,
            weigh_windows=8,
            test_windows=_TEST_WINDOWS,
            partition=PartitionConfig(
                kind="iid",
                train_tokens=config.steps * config.batch_windows * window,
                trust_tokens=_TRUST_WINDOWS * window,
                test_tokens=_TEST_WINDOWS * window,
            ),
        ),
        round=RoundConfig(
            steps=config.round_steps,
            rounds=config.steps // config.round_steps,
            most_partners=partners,
            # By lot where there are fewer places than peers, so that nobody is left out.
            explore=partners,
            barrier=True,
            patience_s=10.0,
        ),
        model=ModelConfig(name=str(base), device="cpu", dtype="float32"),
        adapter=AdapterConfig(train="all"),
        training=TrainingConfig(
            batch_windows=config.batch_windows,
            learning_rate=rate,
            warmup_steps=min(10, config.steps // 4),
            weight_decay=0.1,
            order="once",
        ),
        reference=ReferenceConfig(windows=4),
        conditions=Conditions(churn=churn),
    )


def gradient_bytes(config: PretrainConfig, parameters: int) -> float:
    """Bytes that a device sends where the gradients of every step are averaged by a ring, the cheapest way: of each
    number twice what the others have, (N - 1) / N times."""
    share = 2 * (config.peers - 1) / config.peers
    return share * _GRADIENT_BYTES * parameters * config.steps
