"""Steps toward the sparse predictions of teachers: the divergence, the gate, and the optimiser's steps.

A teacher says of a row the probabilities of its K most probable tokens and of all others together. The divergence of
the student from it is that of these K + 1 numbers:

    KL = sum_K p log(p / q) + p_tail log(p_tail / q_tail)

with the student's own probabilities of the same tokens, and of all others. Of several teachers the loss of a row is the
weighted mean of the divergences from each. Its gradient is that of the divergence from the weighted mean of the
teachers where they name the same tokens. Where they do not, the mean itself is not known: what one teacher thinks of a
token that only another one names is somewhere in its tail.

A gate (FedMKT, arXiv 2406.02224) lets a teacher count on a row only where it gives the true next token, which
everybody knows, a higher probability than the student does at that moment. A teacher that does not name the true token
does not count. A row that no teacher counts on has no loss.

A step is one of gradient descent without momentum, in the measure of the local steps: an entry moves by the rate times
its gradient over the size that AdamW has measured of the gradients of local steps, and at most by the rate. Fresh
moments of AdamW would move every entry by the whole rate in the first step, whatever its gradient: two such steps
raised the divergence that they were to lower. Local steps go on with their own moments.

Axes: B windows of a batch, T positions, U = T - 1 of them with a known next token; R rows, one for each of these that
bears loss; K tokens of a teacher, J teachers, M = J K; V tokens of the vocabulary; N parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gossipllm.learning.jobs import DistilDone, DistilJob, Teacher
from gossipllm.learning.moments import Moments
from gossipllm.learning.passes.engine import Engine, Slopes
from gossipllm.learning.passes.flat import FlatLayout
from gossipllm.learning.passes.local_steps import numbers, sent, stretches
from gossipllm.learning.passes.losses import bearing_rows, tokens_and_mask
from gossipllm.learning.passes.optimiser import BETAS, EPSILON, rate
from gossipllm.text.windows import Windows, bearing, rows_of
from wire.floats import F32
from wire.logits import MIN_LOGP

Indices: TypeAlias = NDArray[np.int64]

LEAST_TAIL: Final = 1e-6
"""The student's probability of all unnamed tokens is taken to be at least this: the sum of the named ones may round to
1, and a tail of nothing makes the divergence infinite."""
_LOGITS_AT_ONCE: Final = 2**22
"""Most logits of a pass: 16 MB as float32, several times over with what the backward pass keeps. Guess."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the teachers say of R rows, `true_R` being the tokens that follow."""

    weights_J: torch.Tensor
    ids_JRK: torch.Tensor
    p_JRK: torch.Tensor
    tail_JR: torch.Tensor
    true_R: torch.Tensor

    @staticmethod
    def of(teachers: Sequence[Teacher], rows: Indices, true_R: torch.Tensor) -> Targets:
        """Of these rows of the reference set. What was rounded to be sent is made to sum to 1 again."""
        ids, chances, tails = zip(*(_part(one, rows) for one in teachers), strict=True)
        device = true_R.device
        p_JRK = torch.tensor(np.stack(chances), device=device)
        tail_JR = torch.tensor(np.stack(tails), device=device)
        mass_JR = p_JRK.sum(dim=-1) + tail_JR
        weights = torch.tensor([one.weight for one in teachers], dtype=torch.float32, device=device)
        ids_JRK = torch.tensor(np.stack(ids), device=device)
        return Targets(weights, ids_JRK, p_JRK / mass_JR[..., None], tail_JR / mass_JR, true_R)


def _part(teacher: Teacher, rows: Indices) -> tuple[Indices, F32, F32]:
    whole = teacher.rows
    return whole.ids_RK[rows].astype(np.int64), np.exp(whole.logp_RK[rows]), whole.tail_R[rows]


def counting(logits_RV: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The gate: the weight of each teacher on each row, `(J, R)`, 0 where it does not count; otherwise they sum to 1
    over the teachers."""
    with torch.no_grad():
        logits = logits_RV.float()
        true_R1 = targets.true_R[:, None]
        own_R = logits.gather(1, true_R1).squeeze(1) - torch.logsumexp(logits, dim=-1)
        named_JRK = targets.ids_JRK == true_R1[None]
        theirs_JR = torch.where(named_JRK, targets.p_JRK, 0.0).sum(dim=-1)
        weight_JR = torch.where(theirs_JR > own_R.exp(), targets.weights_J[:, None], 0.0)
        return weight_JR / weight_JR.sum(dim=0, keepdim=True).clamp(min=1e-12)


def divergences(logits_RV: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The divergence of the student from each teacher on each row, `(J, R)`, in nats."""
    logits = logits_RV.float()
    logq_RV = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    teachers, rows, top = targets.ids_JRK.shape
    # One gather for all teachers: the backward pass of one each would make a gradient of all logits for each.
    ids_RM = targets.ids_JRK.transpose(0, 1).reshape(rows, teachers * top)
    # A model may exclude a token, whose log-probability is then minus infinity.
    logq_RM = logq_RV.gather(1, ids_RM).clamp(MIN_LOGP)
    logq_JRK = logq_RM.reshape(rows, teachers, top).transpose(0, 1)
    tail_JR = (1 - logq_JRK.exp().sum(dim=-1)).clamp(min=LEAST_TAIL)
    p_JRK, p_tail_JR = targets.p_JRK, targets.tail_JR
    named_JR = (torch.xlogy(p_JRK, p_JRK) - p_JRK * logq_JRK).sum(dim=-1)
    return named_JR + torch.xlogy(p_tail_JR, p_tail_JR) - p_tail_JR * tail_JR.log()


def distilled(engine: Engine, job: DistilJob) -> DistilDone:
    """Perform a job. Steps stop at the first whose divergence or gradient is not finite."""
    if not job.teachers or not len(job.batches_SB):
        return DistilDone(job.state, 0, 0, 0.0, 0.0)
    return _Student(engine, job).taught()


class _Student:
    def __init__(self, engine: Engine, job: DistilJob) -> None:
        self._engine = engine
        self._job = job
        self._flat = engine.flat_layout(job.tensors)
        self._slopes = Slopes(engine, self._flat, [job.state])
        self._rows_W = bearing(job.windows_WT).sum(axis=1)
        self._seen = self._counted = 0

    def taught(self) -> DistilDone:
        job, flat = self._job, self._flat
        stretch_PN = stretches([job.stretch], flat, self._engine.blueprint.anatomy.mirrored)
        theta_PN = flat.rows([job.state])
        if stretch_PN is not None:
            theta_PN /= stretch_PN
        mask_PN = flat.masks([job.masks])
        size_PN = _size(job.moments, flat)
        first: _First | None = None
        before = 0.0
        with self._slopes.mounted():
            for step, batch_B in enumerate(job.batches_SB):
                gates: list[torch.Tensor] = []
                loss, gradient_PN = self._slope(sent(theta_PN, stretch_PN), batch_B, gates)
                if gradient_PN is None:
                    continue
                if first is None:
                    first, before = _First(batch_B, tuple(gates)), loss
                if stretch_PN is not None:
                    gradient_PN.mul_(stretch_PN)
                if not bool(torch.isfinite(gradient_PN).all()):
                    break
                _step(job, step, theta_PN, gradient_PN, size_PN=size_PN, mask_PN=mask_PN)
            if first is None:
                return DistilDone(job.state, self._seen, 0, 0.0, 0.0)
            state = {**job.state, **flat.states(sent(theta_PN, stretch_PN))[0]}
        with torch.inference_mode(), self._engine.mounted(self._engine.live([state])):
            after = self._measured(first)
        return DistilDone(state, self._seen, self._counted, before, after)

    def _slope(
        self, theta_PN: torch.Tensor, batch_B: Indices, gates: list[torch.Tensor]
    ) -> tuple[float, torch.Tensor | None]:
        """The mean divergence over the rows that a teacher counts on, and its gradient, None where there is no such
        row. Fills `gates`, one for each part of the batch."""
        total, rows, gradient_PN = 0.0, 0, torch.zeros_like(theta_PN)
        for windows_BT, targets in self._parts(batch_B):

            def loss(windows_BT: Windows = windows_BT, targets: Targets = targets) -> torch.Tensor:
                logits_RV = self._logits(windows_BT)
                gates.append(counting(logits_RV, targets))
                return (gates[-1] * divergences(logits_RV, targets)).sum()[None]

            summed_P, slope_PN = self._slopes.of_loss(theta_PN, loss, "distil", tokens=windows_BT.size)
            total += numbers(summed_P)[0]
            rows += _counted(gates[-1])
            gradient_PN += slope_PN
        self._seen += int(self._rows_W[batch_B].sum())
        self._counted += rows
        return (total / rows, gradient_PN / rows) if rows else (0.0, None)

    def _measured(self, first: _First) -> float:
        """The mean divergence on the rows of the first step, by its gates."""
        total, rows = 0.0, 0
        for (windows_BT, targets), gate_JR in zip(self._parts(first.batch_B), first.gates, strict=True):
            self._engine.meter.forward["distil"] += windows_BT.size
            total += float((gate_JR * divergences(self._logits(windows_BT), targets)).sum())
            rows += _counted(gate_JR)
        return total / rows

    def _parts(self, batch_B: Indices) -> Iterator[tuple[Windows, Targets]]:
        """The batch in parts that fit memory, each with what the teachers say of it."""
        job = self._job
        at_once = max(1, _LOGITS_AT_ONCE // (self._engine.vocabulary * job.windows_WT.shape[1]))
        for start in range(0, len(batch_B), at_once):
            part_B = batch_B[start : start + at_once]
            windows_BT = job.windows_WT[part_B]
            true_R = torch.tensor(
                windows_BT[:, 1:][bearing(windows_BT)], dtype=torch.int64, device=self._engine.base.device
            )
            yield windows_BT, Targets.of(job.teachers, rows_of(job.windows_WT, part_B), true_R)

    def _logits(self, windows_BT: Windows) -> torch.Tensor:
        """Of all rows of these windows."""
        tokens_BT, bears_BU = tokens_and_mask(windows_BT, self._engine.base.device)
        return bearing_rows(self._engine.logits(tokens_BT), bears_BU)


@dataclass(frozen=True, slots=True, eq=False)
class _First:
    """The first batch that taught, and its gates: what the divergence after all steps is measured on."""

    batch_B: Indices
    gates: tuple[torch.Tensor, ...]


def _counted(gate_JR: torch.Tensor) -> int:
    """The rows that a teacher counts on."""
    return int((gate_JR.sum(dim=0) > 0).sum())


def _step(
    job: DistilJob,
    step: int,
    theta_PN: torch.Tensor,
    gradient_PN: torch.Tensor,
    *,
    size_PN: torch.Tensor,
    mask_PN: torch.Tensor | None,
) -> None:
    """Change `theta_PN` in place. `size_PN` is the root of the mean squares of the gradients of local steps."""
    if mask_PN is not None:
        gradient_PN = gradient_PN * mask_PN
    rate_of_step = rate(job.moments.steps + step, job.config)
    if job.config.optimiser == "sgd":
        theta_PN.sub_(gradient_PN, alpha=rate_of_step)
        return
    norm = float(gradient_PN.square().sum().sqrt())
    gradient_PN = gradient_PN * min(1.0, job.config.clip_norm / (norm + EPSILON))
    theta_PN.sub_(gradient_PN / torch.maximum(size_PN, gradient_PN.abs() + EPSILON), alpha=rate_of_step)


def _size(moments: Moments, flat: FlatLayout) -> torch.Tensor:
    age = max(1, moments.steps - moments.since)
    return (flat.rows([moments.second]) / (1 - BETAS[1] ** age)).sqrt()
