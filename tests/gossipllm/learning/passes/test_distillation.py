"""Steps toward teachers' predictions: the divergence with its tail, the gate, and what the steps do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gossipllm.config import ModelConfig, TrainingConfig
from gossipllm.learning.batches import batches
from gossipllm.learning.jobs import DistilDone, DistilJob, PredictJob, Teacher
from gossipllm.learning.moments import Moments
from gossipllm.learning.passes.distillation import Targets, counting, divergences
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.loading.models import load_base
from support.adapters import adapter_config
from wire.logits import RowsShape, SparseRows

Folder = Callable[[str], Path]
ROWS, VOCABULARY = 5, 12
CONFIG = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)
LENGTH = 8


def sparse(logits_RV: torch.Tensor, top: int) -> SparseRows:
    """The predictions of a teacher with these logits, unrounded."""
    logp_RV = torch.log_softmax(logits_RV.double(), dim=-1)
    ids_RK = logp_RV.topk(top, dim=-1).indices.sort(dim=-1).values
    logp_RK = logp_RV.gather(1, ids_RK)
    tail_R = (1 - logp_RK.exp().sum(dim=-1)).clamp(min=0)
    return SparseRows(
        ids_RK.numpy().astype(np.uint32),
        logp_RK.numpy().astype(np.float32),
        tail_R.numpy().astype(np.float32),
    )


def drawn(seed: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(0, 2, (ROWS, VOCABULARY)), dtype=torch.float32)


def targets(*teachers: tuple[float, SparseRows], true: int = 0) -> Targets:
    true_R = torch.full((ROWS,), true, dtype=torch.int64)
    return Targets.of([Teacher(weight, rows) for weight, rows in teachers], np.arange(ROWS), true_R)


def dense(p_RV: torch.Tensor, logits_RV: torch.Tensor) -> torch.Tensor:
    """The divergence over the whole vocabulary, `(R,)`."""
    return (p_RV * (p_RV.log() - torch.log_softmax(logits_RV, dim=-1))).sum(dim=-1)


def test_with_the_whole_vocabulary_the_divergence_is_the_dense_one() -> None:
    teacher, student = drawn(1), drawn(2)
    found_JR = divergences(student, targets((1.0, sparse(teacher, VOCABULARY))))
    assert torch.allclose(found_JR[0], dense(teacher.softmax(dim=-1), student), atol=1e-5)


def test_the_tail_is_one_bucket() -> None:
    teacher, student, top = drawn(1), drawn(2), 4
    rows = sparse(teacher, top)
    ids_RK = torch.tensor(rows.ids_RK.astype(np.int64))

    def bucketed(logits: torch.Tensor) -> torch.Tensor:
        named_RK = logits.softmax(dim=-1).gather(1, ids_RK)
        return torch.cat([named_RK, 1 - named_RK.sum(dim=-1, keepdim=True)], dim=1)

    want_R = dense(bucketed(teacher), bucketed(student).log())
    found_R = divergences(student, targets((1.0, rows)))[0]
    assert torch.allclose(found_R, want_R, atol=1e-5)
    assert bool((found_R < dense(teacher.softmax(dim=-1), student) + 1e-5).all())


def test_the_gradient_is_that_of_the_divergence() -> None:
    student = drawn(2).double().requires_grad_()
    given = targets((1.0, sparse(drawn(1), 4)))
    (slope_RV,) = torch.autograd.grad(divergences(student, given).sum(), student)
    step = 1e-2
    for row, token in ((0, 0), (2, 5), (4, 11)):
        ahead, behind = (student.detach().clone() for _ in range(2))
        ahead[row, token] += step
        behind[row, token] -= step
        rise = divergences(ahead, given).sum() - divergences(behind, given).sum()
        # float32 sums of ten numbers, over a step of 0.02
        assert float(rise) / (2 * step) == pytest.approx(float(slope_RV[row, token]), abs=1e-3)


def test_several_teachers_pull_as_their_mean_does_where_they_name_the_same_tokens() -> None:
    one, other, student = drawn(1), drawn(3), drawn(2).requires_grad_()
    whole = targets((0.75, sparse(one, VOCABULARY)), (0.25, sparse(other, VOCABULARY)))
    weights_J1 = torch.tensor([[0.75], [0.25]])
    (apart,) = torch.autograd.grad((weights_J1 * divergences(student, whole)).sum(), student)
    mean = 0.75 * one.softmax(dim=-1) + 0.25 * other.softmax(dim=-1)
    (together,) = torch.autograd.grad(dense(mean, student).sum(), student)
    assert torch.allclose(apart, together, atol=1e-5)


def test_a_teacher_counts_where_it_gives_the_true_token_more_than_the_student() -> None:
    worse, better, student = (torch.zeros(ROWS, VOCABULARY) for _ in range(3))
    better[:, 7], worse[:, 7], student[:, 7] = 2.0, 0.5, 1.0
    given = targets(
        (0.5, sparse(better, VOCABULARY)), (0.25, sparse(better, VOCABULARY)), (1.0, sparse(worse, VOCABULARY)),
        true=7,
    )  # fmt: skip
    assert torch.allclose(counting(student, given), torch.tensor([[2 / 3], [1 / 3], [0.0]]).expand(3, ROWS))
    student[:, 7] = 3.0
    assert not counting(student, given).any()


def test_a_teacher_that_does_not_name_the_true_token_does_not_count() -> None:
    teacher = torch.zeros(ROWS, VOCABULARY)
    teacher[:, 3] = 5.0
    assert not counting(drawn(2), targets((1.0, sparse(teacher, 1)), true=7)).any()


def test_no_prediction_makes_a_divergence_that_is_not_finite() -> None:
    certain = SparseRows(
        np.tile(np.array([1, 2], np.uint32), (ROWS, 1)),
        np.tile(np.array([0.0, -10_000.0], np.float32), (ROWS, 1)),
        np.zeros(ROWS, np.float32),
    )
    student = drawn(2)
    student[:, 1] = -math.inf
    student.requires_grad_()
    found = divergences(student, targets((1.0, certain)))
    assert bool(torch.isfinite(found).all())


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
