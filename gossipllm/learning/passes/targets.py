"""What teachers say of rows of the reference set, as targets: the gate, and the divergence of the student from them.

A teacher says of a row the probabilities of its K most probable outcomes and of all others together. The divergence of
the student from it is that of these K + 1 numbers:

    KL = sum_K p log(p / q) + p_tail log(p_tail / q_tail)

with the student's own probabilities q of the same outcomes, and of all others. Of several teachers the loss of a row is
the weighted mean of the divergences from each. Its gradient is that of the divergence from the weighted mean of the
teachers where they name the same outcomes. Where they do not, the mean itself is not known: what one teacher thinks of
an outcome that only another one names is somewhere in its tail.

**Outcomes** are the tokens of the vocabulary where teacher and student have one tokenizer. Where they have not, they
are the symbols of `wire.predictions.byte_rows`, the next bytes of the text, and the student's probabilities are its
exact marginal over them (`passes.predicting.byte_predictions`). Such a teacher has a row only where both tokenizers
have a boundary.

**Changes.** Of a teacher whose base's predictions are known, what it *learned* can be the target instead of what it
predicts: the probabilities of the student's base, times p / p_base of the teacher, made to sum to 1 (logit task
vectors; EFT, arXiv 2310.12962; proxy tuning, 2401.08565). A weak teacher then does not pass on its weakness. Where both
bases are one, this is what the teacher predicts. The probability that the teacher's base gives to an outcome that it
does not name is taken as the least that it names or its tail, if that is less, so that the rise is rather too small.
Changes of what the student itself predicts now, rather than its base, were tried: whoever has learned the same already
would learn it twice, and 1 of 96 attempts was kept.

**Gate** (FedMKT, arXiv 2406.02224): a teacher counts on a row only where its target gives the true next outcome, which
everybody knows, a higher probability than the student does at that moment. A teacher that does not name the true
outcome does not count. A row that no teacher counts on has no loss.

Axes: R rows, one for each token of the windows that bears loss; K outcomes that a teacher names, J teachers, M = J K;
O outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gossipllm.learning.jobs.teachers import Teacher
from trust.rows.evidence import Predictions
from wire.predictions.logits import MIN_LOGP

Indices: TypeAlias = NDArray[np.int64]

LEAST_TAIL: Final = 1e-6
"""The student's probability of all unnamed outcomes is taken to be at least this: the sum of the named ones may round
to 1, and a tail of nothing makes the divergence infinite."""
MOST_CHANGE: Final = 3.0
"""Bound of a teacher's change of a log-probability, in nats. Guess: bfloat16 and unnamed outcomes make larger ones
unsure, and e^3 is twentyfold."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What teachers of one kind of outcomes say of R rows, `true_R` being the outcomes that follow.

    `known_JR` says which rows a teacher has. `change_JRK` and `change_tail_JR` are the logarithms of p / p_base, 0 for
    teachers that are not `changing_J`.
    """

    weights_J: torch.Tensor
    ids_JRK: torch.Tensor
    p_JRK: torch.Tensor
    tail_JR: torch.Tensor
    true_R: torch.Tensor
    known_JR: torch.Tensor
    changing_J: torch.Tensor
    change_JRK: torch.Tensor
    change_tail_JR: torch.Tensor

    @staticmethod
    def of(teachers: Sequence[Teacher], rows: Indices, true_R: torch.Tensor) -> Targets:
        """Of these rows of the reference set. What was rounded to be sent is made to sum to 1 again."""
        parts = [_Part.of(one, rows) for one in teachers]
        device = true_R.device

        def stacked(arrays: Sequence[NDArray[np.generic]]) -> torch.Tensor:
            return torch.tensor(np.stack(arrays), device=device)

        return Targets(
            torch.tensor([one.weight for one in teachers], dtype=torch.float32, device=device),
            stacked([one.ids_RK for one in parts]),
            stacked([one.p_RK for one in parts]),
            stacked([one.tail_R for one in parts]),
            true_R,
            stacked([one.known_R for one in parts]),
            torch.tensor([one.base is not None for one in teachers], device=device),
            stacked([one.change_RK for one in parts]),
            stacked([one.change_tail_R for one in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some rows of one teacher."""

    ids_RK: Indices
    p_RK: NDArray[np.float32]
    tail_R: NDArray[np.float32]
    known_R: NDArray[np.bool_]
    change_RK: NDArray[np.float32]
    change_tail_R: NDArray[np.float32]

    @staticmethod
    def of(teacher: Teacher, rows: Indices) -> _Part:
        at_R = rows if teacher.at_R is None else teacher.at_R[rows]
        known_R = at_R >= 0
        at_R = np.maximum(at_R, 0)
        ids_RK, p_RK, tail_R = _rows(teacher.rows, at_R)
        change_RK, change_tail_R = np.zeros_like(p_RK), np.zeros_like(tail_R)
        if teacher.base is not None:
            base_RK, base_tail_R = _of_base(*_rows(teacher.base, at_R), ids_RK)
            change_RK = _change(p_RK, base_RK)
            change_tail_R = _change(tail_R, base_tail_R)
        return _Part(ids_RK, p_RK, tail_R, known_R, change_RK, change_tail_R)


def _rows(
    predictions: Predictions, at_R: Indices
) -> tuple[Indices, NDArray[np.float32], NDArray[np.float32]]:
    p_RK = np.exp(predictions.logp_RK[at_R])
    tail_R = predictions.tail_R[at_R]
    mass_R = p_RK.sum(axis=1) + tail_R
    return predictions.ids_RK[at_R].astype(np.int64), p_RK / mass_R[:, None], tail_R / mass_R


def _of_base(
    base_ids_RB: Indices, p_RB: NDArray[np.float32], tail_R: NDArray[np.float32], ids_RK: Indices
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The base's probabilities of the outcomes that its teacher names, and of all others."""
    same_RKB = ids_RK[:, :, None] == base_ids_RB[:, None, :]
    found_RK = np.where(same_RKB, p_RB[:, None, :], 0).sum(axis=2)
    unnamed_R = np.minimum(p_RB.min(axis=1), tail_R)
    found_RK = np.where(same_RKB.any(axis=2), found_RK, unnamed_R[:, None])
    return found_RK, np.maximum(1 - found_RK.sum(axis=1), 0)


def _change(p: NDArray[np.float32], base: NDArray[np.float32]) -> NDArray[np.float32]:
    nats = np.log(np.maximum(p, LEAST_TAIL)) - np.log(np.maximum(base, LEAST_TAIL))
    return np.clip(nats, -MOST_CHANGE, MOST_CHANGE).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Aims:
    """What the student is to predict of the outcomes that each teacher names, and the weight of each teacher on each
    row before the weights of a row are made to sum to 1: 0 where it does not count."""

    p_JRK: torch.Tensor
    tail_JR: torch.Tensor
    gate_JR: torch.Tensor


def aims(logq_RO: torch.Tensor, targets: Targets, base_RO: torch.Tensor | None = None) -> Aims:
    """The aims of a student that gives these log-probabilities now, and whose base gives `base_RO`, which is needed
    where a teacher's changes are the target. Not differentiated."""
    with torch.no_grad():
        p_JRK, p_tail_JR = targets.p_JRK, targets.tail_JR
        if base_RO is not None:
            logq_JRK, tail_JR = _named(base_RO, targets)
            changed_JRK = (logq_JRK + targets.change_JRK).exp()
            changed_tail_JR = tail_JR * targets.change_tail_JR.exp()
            mass_JR = changed_JRK.sum(dim=-1) + changed_tail_JR
            changing_J1 = targets.changing_J[:, None]
            p_JRK = torch.where(changing_J1[..., None], changed_JRK / mass_JR[..., None], p_JRK)
            p_tail_JR = torch.where(changing_J1, changed_tail_JR / mass_JR, p_tail_JR)
        true_R1 = targets.true_R[:, None]
        own_R = logq_RO.gather(1, true_R1).squeeze(1).exp()
        theirs_JR = torch.where(targets.ids_JRK == true_R1[None], p_JRK, 0.0).sum(dim=-1)
        counts_JR = (theirs_JR > own_R) & targets.known_JR
        return Aims(p_JRK, p_tail_JR, torch.where(counts_JR, targets.weights_J[:, None], 0.0))


def divergences(logq_RO: torch.Tensor, targets: Targets, aimed: Aims) -> torch.Tensor:
    """The divergence of the student from each teacher's aim on each row, `(J, R)`, in nats."""
    logq_JRK, tail_JR = _named(logq_RO, targets)
    p_JRK, p_tail_JR = aimed.p_JRK, aimed.tail_JR
    named_JR = (torch.xlogy(p_JRK, p_JRK) - p_JRK * logq_JRK).sum(dim=-1)
    return named_JR + torch.xlogy(p_tail_JR, p_tail_JR) - p_tail_JR * tail_JR.log()


def _named(logq_RO: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """The student's log-probabilities of the outcomes that each teacher names, and the probability of all others."""
    teachers, rows, top = targets.ids_JRK.shape
    # One gather for all teachers: the backward pass of one each would make a gradient of all outcomes for each.
    ids_RM = targets.ids_JRK.transpose(0, 1).reshape(rows, teachers * top)
    # A model may exclude an outcome, whose log-probability is then minus infinity.
    logq_RM = logq_RO.gather(1, ids_RM).clamp(MIN_LOGP)
    logq_JRK = logq_RM.reshape(rows, teachers, top).transpose(0, 1)
    return logq_JRK, (1 - logq_JRK.exp().sum(dim=-1)).clamp(min=LEAST_TAIL)
