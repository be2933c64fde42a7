"""What tests of attackers share: the answers of real learners, scenes made of them, and what a neighbour decodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.learner import Learner
from gossipllm.model.adapter.names import A, B, State
from gossipllm.text.windows import Splits
from gossipllm.work import Trained
from sim.adversaries.fault import Fault, Scene
from wire.digest import Content

Answers: TypeAlias = list[tuple[Learner, Trained, State]]
"""Learners after a step, their answers, and their adapters before it. The first is the attacker's."""
MakeScene: TypeAlias = Callable[..., Scene]
"""Makes the attacker's scene, with the given fields in place of the usual ones."""


CONFIG = LearnerConfig(
    model=ModelConfig(device="cpu", threads=1),
    data=DataConfig(window_tokens=16, trust_windows=2, weigh_windows=2, test_windows=2),
    training=TrainingConfig(batch_windows=2, warmup_steps=0, learning_rate=1e-2),
    reference=ReferenceConfig(windows=2, window_tokens=8),
)


def splits(seed: int) -> Splits:
    windows = np.random.default_rng(seed).integers(5, 4000, (8, 16), np.int32)
    return Splits(windows[:4], windows[4:6], windows[6:])


def sent(fault: Fault, scene: Scene, trained: Answers) -> tuple[State, bytes | None]:
    """What a neighbour decodes of a forgery, and the predictions where they are not the adapter's own."""
    forgery = fault.forged(scene)
    update = scene.workshop.encoded(forgery.state, forgery.start, trained[0][1].offer)
    state = scene.workshop.decoded(Content.of(update.data))
    assert state is not None
    return state, forgery.evidence


def products(state: State) -> Mapping[str, np.ndarray]:
    return {
        name.removesuffix(B): value.astype(np.float64) @ state[name.removesuffix(B) + A]
        for name, value in state.items()
        if name.endswith(B)
    }
