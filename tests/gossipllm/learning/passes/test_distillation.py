"""Steps toward teachers' predictions: what they do to the adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gossipllm.config import ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import DistilDone, DistilJob, PredictBytesJob, PredictJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.loading.models import load_base
from support.adapters import adapter_config
from wire.predictions.logits import RowsShape, SparseRows

Folder = Callable[[str], Path]
CONFIG = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)
LENGTH = 8


@pytest.fixture(scope="module")
def fleet(model_folder: Folder) -> Fleet:
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
    return Fleet(base, adapter_config())


def state_of(fleet: Fleet, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: value + rng.normal(0, 0.3, value.shape).astype(np.float32)
        for name, value in fleet.blueprint.start(0).items()
    }


WINDOWS = np.random.default_rng(5).integers(1, 320, (8, LENGTH)).astype(np.int32)


def taught(fleet: Fleet, config: TrainingConfig = CONFIG, *, steps: int = 4, **changes: Any) -> DistilDone:
    shape = RowsShape(len(WINDOWS) * (LENGTH - 1), 64, 320)
    (rows,) = fleet.perform([PredictJob(state_of(fleet, 1), WINDOWS, shape)])
    job = DistilJob(
        state_of(fleet, 2),
        Moments(),
        (Teacher(1.0, rows),),
        WINDOWS,
        batches(len(WINDOWS), config, round_number=0, steps=steps),
        config,
    )
    (done,) = fleet.perform([replace(job, **changes)])
    return done


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, optimiser="sgd", learning_rate=0.05)])
def test_steps_lower_the_divergence_on_the_rows_that_were_better(
    fleet: Fleet, config: TrainingConfig
) -> None:
    done = taught(fleet, config)
    assert 0 < done.taught < done.rows == 4 * 4 * (LENGTH - 1)
    assert done.kl_after < done.kl_before


def test_an_entry_moves_by_the_rate_at_most_and_less_where_local_gradients_are_large(fleet: Fleet) -> None:
    start = state_of(fleet, 2)
    free = taught(fleet, steps=1)
    large = {name: np.full(value.shape, 1e4, np.float32) for name, value in start.items()}
    held = taught(fleet, steps=1, moments=Moments(1000, second=large))

    def furthest(done: DistilDone) -> float:
        return max(float(np.abs(done.state[name] - start[name]).max()) for name in start)

    assert furthest(free) == pytest.approx(CONFIG.learning_rate, rel=1e-2)
    assert 0 < furthest(held) < 1e-3 * CONFIG.learning_rate


def test_a_peer_learns_nothing_of_its_own_predictions(fleet: Fleet) -> None:
    shape = RowsShape(len(WINDOWS) * (LENGTH - 1), 64, 320)
    state = state_of(fleet, 2)
    (rows,) = fleet.perform([PredictJob(state, WINDOWS, shape)])
    certain = SparseRows(rows.ids_RK, rows.logp_RK - np.float32(1e-4), rows.tail_R)
    done = taught(fleet, teachers=(Teacher(1.0, certain),))
    assert (done.taught, done.kl_before, done.kl_after) == (0, 0.0, 0.0)
    assert all(np.array_equal(done.state[name], state[name]) for name in state)


def test_byte_rows_teach_beside_token_rows(fleet: Fleet) -> None:
    """All rows of the student's tokens, in bytes: token `v` begins with byte `v mod 256`."""
    symbols_V = np.arange(320, dtype=np.int64) % 256
    (said,) = fleet.perform([PredictBytesJob(state_of(fleet, 1), WINDOWS, symbols_V, 16)])
    in_bytes = Teacher(1.0, said, at_R=np.arange(len(WINDOWS) * (LENGTH - 1)))
    alone = taught(fleet, teachers=(in_bytes,), symbols_V=symbols_V)
    assert alone.taught > 0
    assert alone.kl_after < alone.kl_before
    (rows,) = fleet.perform(
        [PredictJob(state_of(fleet, 1), WINDOWS, RowsShape(len(WINDOWS) * (LENGTH - 1), 64, 320))]
    )
    both = taught(fleet, teachers=(in_bytes, Teacher(1.0, rows)), symbols_V=symbols_V)
    assert both.taught >= alone.taught
    assert not all(np.array_equal(both.state[name], alone.state[name]) for name in both.state)
