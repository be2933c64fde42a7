"""What teachers ask of a row: the divergence with its tail, changes of a base, byte rows, and the gate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.learning.passes.predicting.byte_predictions import symbol_probabilities
from gossipllm.learning.passes.targets import MOST_CHANGE, Targets, aims, divergences
from gossipllm.text.vocabulary import NO_SYMBOL
from wire.predictions.logits import SparseRows

ROWS, VOCABULARY = 5, 12
SYMBOLS = np.array([97, 97, 98, 32, 256 + 97, 256 + 97, 98, 99, NO_SYMBOL, 100, 100, 101], np.int64)
"""Of each token."""


def sparse(logits_RV: torch.Tensor, top: int) -> SparseRows:
    """The predictions of a teacher with these logits, unrounded."""
    return kept(torch.log_softmax(logits_RV.double(), dim=-1).exp(), top)


def kept(p_RO: torch.Tensor, top: int) -> SparseRows:
    ids_RK = p_RO.topk(top, dim=-1).indices.sort(dim=-1).values
    p_RK = p_RO.gather(1, ids_RK)
    return SparseRows(
        ids_RK.numpy().astype(np.uint32),
        p_RK.log().numpy().astype(np.float32),
        (1 - p_RK.sum(dim=-1)).clamp(min=0).numpy().astype(np.float32),
    )


def drawn(seed: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(0, 2, (ROWS, VOCABULARY)), dtype=torch.float32)


def targets(*teachers: Teacher, true: int = 0) -> Targets:
    return Targets.of(teachers, np.arange(ROWS), torch.full((ROWS,), true, dtype=torch.int64))


def taught(student_RV: torch.Tensor, given: Targets) -> torch.Tensor:
    """The divergences of a student with these logits, `(J, R)`."""
    logq_RV = torch.log_softmax(student_RV, dim=-1)
    return divergences(logq_RV, given, aims(logq_RV, given))


def gate(student_RV: torch.Tensor, given: Targets) -> torch.Tensor:
    return aims(torch.log_softmax(student_RV, dim=-1), given).gate_JR


def dense(p_RV: torch.Tensor, logits_RV: torch.Tensor) -> torch.Tensor:
    """The divergence over the whole vocabulary, `(R,)`."""
    return (p_RV * (p_RV.log() - torch.log_softmax(logits_RV, dim=-1))).sum(dim=-1)


def test_with_the_whole_vocabulary_the_divergence_is_the_dense_one() -> None:
    teacher, student = drawn(1), drawn(2)
    found_JR = taught(student, targets(Teacher(1.0, sparse(teacher, VOCABULARY))))
    assert torch.allclose(found_JR[0], dense(teacher.softmax(dim=-1), student), atol=1e-5)


def test_the_tail_is_one_bucket() -> None:
    teacher, student, top = drawn(1), drawn(2), 4
    rows = sparse(teacher, top)
    ids_RK = torch.tensor(rows.ids_RK.astype(np.int64))

    def bucketed(logits: torch.Tensor) -> torch.Tensor:
        named_RK = logits.softmax(dim=-1).gather(1, ids_RK)
        return torch.cat([named_RK, 1 - named_RK.sum(dim=-1, keepdim=True)], dim=1)

    want_R = dense(bucketed(teacher), bucketed(student).log())
    found_R = taught(student, targets(Teacher(1.0, rows)))[0]
    assert torch.allclose(found_R, want_R, atol=1e-5)
    assert bool((found_R < dense(teacher.softmax(dim=-1), student) + 1e-5).all())


def test_the_gradient_is_that_of_the_divergence() -> None:
    student = drawn(2).double().requires_grad_()
    given = targets(Teacher(1.0, sparse(drawn(1), 4)))
    (slope_RV,) = torch.autograd.grad(taught(student, given).sum(), student)
    step = 1e-2
    for row, token in ((0, 0), (2, 5), (4, 11)):
        ahead, behind = (student.detach().clone() for _ in range(2))
        ahead[row, token] += step
        behind[row, token] -= step
        rise = taught(ahead, given).sum() - taught(behind, given).sum()
        # float32 sums of ten numbers, over a step of 0.02
        assert float(rise) / (2 * step) == pytest.approx(float(slope_RV[row, token]), abs=1e-3)


def test_several_teachers_pull_as_their_mean_does_where_they_name_the_same_tokens() -> None:
    one, other, student = drawn(1), drawn(3), drawn(2).requires_grad_()
    whole = targets(Teacher(0.75, sparse(one, VOCABULARY)), Teacher(0.25, sparse(other, VOCABULARY)))
    weights_J1 = torch.tensor([[0.75], [0.25]])
    (apart,) = torch.autograd.grad((weights_J1 * taught(student, whole)).sum(), student)
    mean = 0.75 * one.softmax(dim=-1) + 0.25 * other.softmax(dim=-1)
    (together,) = torch.autograd.grad(dense(mean, student).sum(), student)
    assert torch.allclose(apart, together, atol=1e-5)


# -- changes ------------------------------------------------------------------------------------------


def changed(student_RV: torch.Tensor, base_RV: torch.Tensor, given: Targets) -> torch.Tensor:
    """The divergences of a student with these logits, whose base has those, `(J, R)`."""
    logq_RV, base_RV = (torch.log_softmax(one, dim=-1) for one in (student_RV, base_RV))
    return divergences(logq_RV, given, aims(logq_RV, given, base_RV))


def test_a_change_is_added_to_what_the_students_base_predicts() -> None:
    """The slope of the divergence is the student's probabilities less those of its base's logits plus the change."""
    student, own_base, base = drawn(2).requires_grad_(), drawn(5), drawn(1)
    change = torch.tensor(np.random.default_rng(4).uniform(-1, 1, (ROWS, VOCABULARY)), dtype=torch.float32)
    given = targets(Teacher(1.0, sparse(base + change, VOCABULARY), sparse(base, VOCABULARY)))
    (slope_RV,) = torch.autograd.grad(changed(student, own_base, given).sum(), student)
    want_RV = student.softmax(dim=-1) - (own_base + change).softmax(dim=-1)
    assert torch.allclose(slope_RV, want_RV.detach(), atol=1e-5)


def test_where_both_bases_are_one_the_target_is_what_the_teacher_predicts() -> None:
    teacher, base, student = drawn(1), drawn(3) / 4, drawn(2)
    rows = sparse(teacher / 4, VOCABULARY)
    found = changed(student, base, targets(Teacher(1.0, rows, sparse(base, VOCABULARY))))
    assert torch.allclose(found, taught(student, targets(Teacher(1.0, rows))), atol=1e-4)


def test_a_teacher_that_learned_nothing_asks_a_student_that_learned_nothing_for_no_change() -> None:
    rows, base = sparse(drawn(1), 4), drawn(2)
    student = base.clone().requires_grad_()
    given = targets(Teacher(1.0, rows, rows))
    (slope_RV,) = torch.autograd.grad(changed(student, base, given).sum(), student)
    assert float(slope_RV.abs().max()) < 1e-6


def test_a_weak_teacher_that_learned_the_true_token_counts_by_its_change_and_not_by_what_it_predicts() -> (
    None
):
    base, student = torch.zeros(ROWS, VOCABULARY), torch.zeros(ROWS, VOCABULARY)
    student[:, 7] = 3.0
    better = base.clone()
    better[:, 7] = 1.0
    whole = sparse(better, VOCABULARY)
    assert not gate(student, targets(Teacher(1.0, whole), true=7)).any()
    given = targets(Teacher(1.0, whole, sparse(base, VOCABULARY)), true=7)
    logq_RV = torch.log_softmax(student, dim=-1)
    assert aims(logq_RV, given, logq_RV).gate_JR.all()


def test_a_change_of_what_the_base_does_not_name_is_bounded_and_rather_too_small() -> None:
    base, better = torch.zeros(ROWS, VOCABULARY), torch.zeros(ROWS, VOCABULARY)
    base[:, :4], better[:, 11] = 5.0, 5.0
    given = targets(Teacher(1.0, sparse(better, 2), sparse(base, 4)))
    place = given.ids_JRK[0, 0].numpy().tolist().index(11)
    rise = float(given.change_JRK[0, 0, place])
    assert 0 < rise <= MOST_CHANGE
    assert rise <= float((better.log_softmax(-1) - base.log_softmax(-1))[0, 11]) + 1e-6
    extreme = targets(Teacher(1.0, sparse(better * 9, 2), sparse(base * 9, 4)))
    assert float(extreme.change_JRK.abs().max()) == MOST_CHANGE


# -- byte rows ----------------------------------------------------------------------------------------


def said(student_RV: torch.Tensor) -> torch.Tensor:
    """The student's log-probability of each symbol."""
    return symbol_probabilities(student_RV, torch.tensor(SYMBOLS)).clamp(min=1e-30).log()


def of_bytes(top: int, *, at: list[int] | None = None) -> Teacher:
    """A teacher that says of each symbol what tokens of `drawn(1)` that begin with it have together."""
    p_RO = symbol_probabilities(drawn(1).double(), torch.tensor(SYMBOLS)).double()
    return Teacher(1.0, kept(p_RO, top), at_R=np.array(at or range(ROWS), np.int64))


def test_the_divergence_from_byte_rows_is_that_of_the_marginals() -> None:
    """By a sum over the tokens that begin with each symbol."""
    student, top = drawn(2), 3
    teacher = of_bytes(top)
    given = targets(teacher)
    found_R = divergences(said(student), given, aims(said(student), given))[0]
    for row in range(ROWS):
        p, q = drawn(1).softmax(dim=-1)[row], student.softmax(dim=-1)[row]
        named = teacher.rows.ids_RK[row].tolist()
        begins = {symbol: [v for v in range(VOCABULARY) if SYMBOLS[v] == symbol] for symbol in named}
        pairs = [(float(p[begins[one]].sum()), float(q[begins[one]].sum())) for one in named]
        pairs.append((1 - sum(one for one, _ in pairs), 1 - sum(one for _, one in pairs)))
        want = sum(one * math.log(one / other) for one, other in pairs)
        assert float(found_R[row]) == pytest.approx(want, abs=1e-5)


def test_the_gradient_through_the_marginal_is_that_of_the_divergence() -> None:
    student = drawn(2).requires_grad_()
    given = targets(of_bytes(3))
    aimed = aims(said(student), given)
    (slope_RV,) = torch.autograd.grad(divergences(said(student), given, aimed).sum(), student)
    step = 1e-2
    for row, token in ((0, 0), (2, 5), (3, 8), (4, 11)):
        ahead, behind = (student.detach().clone() for _ in range(2))
        ahead[row, token] += step
        behind[row, token] -= step
        rise = divergences(said(ahead), given, aimed).sum() - divergences(said(behind), given, aimed).sum()
        assert float(rise) / (2 * step) == pytest.approx(float(slope_RV[row, token]), abs=2e-3)


def test_byte_rows_count_only_where_both_tokenizers_have_a_boundary() -> None:
    certain = torch.full((ROWS, NO_SYMBOL + 1), 1e-9, dtype=torch.float64)
    certain[:, 99] = 1.0
    at = np.array([3, -1, 0, -1, 1], np.int64)
    given = targets(Teacher(1.0, kept(certain, 2), at_R=at), true=99)
    counts_JR = aims(said(drawn(2)), given).gate_JR > 0
    assert counts_JR[0].numpy().tolist() == [True, False, True, False, True]


# -- the gate -----------------------------------------------------------------------------------------


def test_a_teacher_counts_where_it_gives_the_true_token_more_than_the_student() -> None:
    worse, better, student = (torch.zeros(ROWS, VOCABULARY) for _ in range(3))
    better[:, 7], worse[:, 7], student[:, 7] = 2.0, 0.5, 1.0
    given = targets(Teacher(0.5, sparse(better, VOCABULARY)), Teacher(1.0, sparse(worse, VOCABULARY)), true=7)
    assert torch.allclose(gate(student, given), torch.tensor([[0.5], [0.0]]).expand(2, ROWS))
    student[:, 7] = 3.0
    assert not gate(student, given).any()


def test_a_teacher_that_does_not_name_the_true_token_does_not_count() -> None:
    teacher = torch.zeros(ROWS, VOCABULARY)
    teacher[:, 3] = 5.0
    assert not gate(drawn(2), targets(Teacher(1.0, sparse(teacher, 1)), true=7)).any()


def test_no_prediction_makes_a_divergence_that_is_not_finite() -> None:
    certain = SparseRows(
        np.tile(np.array([1, 2], np.uint32), (ROWS, 1)),
        np.tile(np.array([0.0, -10_000.0], np.float32), (ROWS, 1)),
        np.zeros(ROWS, np.float32),
    )
    student = drawn(2)
    student[:, 1] = -math.inf
    student.requires_grad_()
    for base in (certain, sparse(drawn(1), 2)):
        given = targets(Teacher(1.0, certain, base))
        for found in (taught(student, given), changed(student, student, given)):
            assert bool(torch.isfinite(found).all())
