"""What local steps keep of an earlier adapter: its predictions, or its outputs in the span of its A."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gossipllm.config import ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import PredictJob, StepsDone, StepsJob
from gossipllm.learning.jobs.kept import KeptPredictions, KeptSpan
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.adapter.names import A, B, State
from gossipllm.model.loading.models import load_base
from support.adapters import adapter_config
from trust.rows.evidence import prediction_distance
from wire.predictions.logits import RowsShape, SparseRows

CONFIG = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)
LENGTH, STEPS = 8, 12
SHAPE = RowsShape(8 * (LENGTH - 1), 256, 320)
OLD, NEW = (np.random.default_rng(seed).integers(1, 320, (8, LENGTH)).astype(np.int32) for seed in (5, 6))


@pytest.fixture(scope="module")
def fleet(model_folder: Callable[[str], Path]) -> Fleet:
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
    return Fleet(base, adapter_config())


def state_of(fleet: Fleet, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: value + rng.normal(0, 0.3, value.shape).astype(np.float32)
        for name, value in fleet.blueprint.start(0).items()
    }


def stepped(fleet: Fleet, **changes: Any) -> StepsDone:
    job = StepsJob(
        state_of(fleet, 2),
        Moments(),
        NEW,
        batches(len(NEW), CONFIG, round_number=0, steps=STEPS),
        CONFIG,
        lambda _step, _loss, _speed: None,
    )
    (done,) = fleet.perform([replace(job, **changes)])
    assert isinstance(done, StepsDone)
    return done


def predicted(fleet: Fleet, state: State) -> SparseRows:
    (rows,) = fleet.perform([PredictJob(state, OLD, SHAPE)])
    return rows


def test_the_pull_keeps_predictions_of_other_text_nearer_to_the_earlier_ones(fleet: Fleet) -> None:
    earlier = predicted(fleet, state_of(fleet, 2))
    read_SB = batches(len(OLD), CONFIG, round_number=0, steps=STEPS)
    away = [
        prediction_distance(
            earlier,
            predicted(
                fleet,
                stepped(fleet, keeps=KeptPredictions(Teacher(1.0, earlier), OLD, read_SB, strength)).state,
            ),
        ).mean
        for strength in (1e-6, 10.0, 100.0)
    ]
    assert away[0] > 1.2 * away[1] > 1.2 * away[2]


def test_without_strength_the_steps_are_those_without_a_pull(fleet: Fleet) -> None:
    read_SB = batches(len(OLD), CONFIG, round_number=0, steps=STEPS)
    kept = KeptPredictions(Teacher(1.0, predicted(fleet, state_of(fleet, 3))), OLD, read_SB, 0.0)
    pulled, free = stepped(fleet, keeps=kept), stepped(fleet)
    assert all(np.array_equal(pulled.state[name], free.state[name]) for name in free.state)


def test_at_full_strength_the_earlier_adapter_acts_on_its_span_as_before(fleet: Fleet) -> None:
    before = state_of(fleet, 2)
    after = stepped(fleet, keeps=KeptSpan(before, 1.0)).state
    factors = [name for name in before if name.endswith(A)]
    for name in factors:
        other = name.removesuffix(A) + B
        inputs_IK = before[name].T
        was, now = (one[other] @ one[name] @ inputs_IK for one in (before, after))
        assert np.allclose(was, now, atol=1e-3 * float(np.abs(was).max()))
    assert any(not np.allclose(before[name], after[name], atol=1e-3) for name in factors)


def test_at_half_strength_a_step_in_the_span_is_half_as_long(fleet: Fleet) -> None:
    before = state_of(fleet, 2)
    name = next(one for one in before if one.endswith(A))
    one_step = batches(len(NEW), CONFIG, round_number=0, steps=1)

    def along(**changes: Any) -> float:
        moved = stepped(fleet, batches_SB=one_step, **changes).state[name] - before[name]
        return float(np.linalg.norm(moved @ np.linalg.qr(before[name].T)[0]))

    assert along(keeps=KeptSpan(before, 0.5)) == pytest.approx(along() / 2, rel=1e-3)
