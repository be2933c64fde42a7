"""Steps toward the predictions of teachers on the reference set: passes, gradients, and the optimiser's steps.

What teachers ask of a row, and who of them counts on it, stands in `targets.py`. Teachers with the student's tokenizer
speak of tokens, others of bytes; the weights of all that count on a row are made to sum to 1 together.

A step is one of gradient descent without momentum, in the measure of the local steps: an entry moves by the rate times
its gradient over the size that AdamW has measured of the gradients of local steps, and at most by the rate. Fresh
moments of AdamW would move every entry by the whole rate in the first step, whatever its gradient: two such steps
raised the divergence that they were to lower. Local steps go on with their own moments.

Axes: B windows of a batch, T positions; R rows, one for each token that bears loss; J teachers; V tokens of the
vocabulary, O outcomes; N parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

from gossipllm.learning.jobs.jobs import DistilDone, DistilJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.engine import Engine, Slopes
from gossipllm.learning.passes.flat import FlatLayout
from gossipllm.learning.passes.local_steps import numbers, sent, stretches
from gossipllm.learning.passes.losses import bearing_rows, tokens_and_mask
from gossipllm.learning.passes.optimiser import BETAS, EPSILON, rate
from gossipllm.learning.passes.predicting.byte_predictions import symbol_probabilities
from gossipllm.learning.passes.targets import Aims, Indices, Targets, aims, divergences
from gossipllm.text.windows import Windows, bearing, rows_of

Said: TypeAlias = tuple[torch.Tensor, Targets]
"""A student's log-probabilities of the outcomes of a group of teachers, `(R, O)`, and what these say."""

_LOGITS_AT_ONCE: Final = 2**22
"""Most logits of a pass: 16 MB as float32, several times over with what the backward pass keeps. Guess."""
_NOTHING: Final = 1e-30
"""Least probability of a symbol, whose logarithm is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Windows of a batch, and what each group of teachers says of their rows."""

    windows_BT: Windows
    tokens: Targets | None
    symbols: Targets | None


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What the teachers of a part ask of the student: the aims of each group, and the weight of each teacher on each
    row, `(J, R)` over both groups, summing to 1 on the rows on which one counts and 0 elsewhere."""

    aims: tuple[Aims, ...]
    weight_JR: torch.Tensor

    @staticmethod
    def of(said: Sequence[Said], by_base: Sequence[Said] | None) -> _Asked:
        """`by_base` is what the student's base says, where a teacher's changes are asked for."""
        bases = [None] * len(said) if by_base is None else [logq_RO for logq_RO, _ in by_base]
        found = tuple(aims(*one, base_RO) for one, base_RO in zip(said, bases, strict=True))
        gate_JR = torch.cat([one.gate_JR for one in found])
        return _Asked(found, gate_JR / gate_JR.sum(dim=0, keepdim=True).clamp(min=1e-12))

    @property
    def rows(self) -> int:
        """The rows that a teacher counts on."""
        return int((self.weight_JR.sum(dim=0) > 0).sum())

    def loss(self, said: Sequence[Said]) -> torch.Tensor:
        """The sum over rows of the weighted mean divergence."""
        found = [divergences(*one, aim) for one, aim in zip(said, self.aims, strict=True)]
        return (self.weight_JR * torch.cat(found)).sum()


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
        self._symbols_V = (
            None if job.symbols_V is None else torch.tensor(job.symbols_V, device=engine.base.device)
        )
        self._changing = any(one.base is not None for one in job.teachers)
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
                asked: list[_Asked] = []
                loss, gradient_PN = self._slope(sent(theta_PN, stretch_PN), batch_B, asked)
                if gradient_PN is None:
                    continue
                if first is None:
                    first, before = _First(batch_B, tuple(asked)), loss
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
        self, theta_PN: torch.Tensor, batch_B: Indices, asked: list[_Asked]
    ) -> tuple[float, torch.Tensor | None]:
        """The mean divergence over the rows that a teacher counts on, and its gradient, None where there is no such
        row. Fills `asked`, one for each part of the batch."""
        total, rows, gradient_PN = 0.0, 0, torch.zeros_like(theta_PN)
        for part in self._parts(batch_B):
            by_base = self._said_by_base(theta_PN, part) if self._changing else None

            def loss(part: _Part = part, by_base: list[Said] | None = by_base) -> torch.Tensor:
                said = self._said(part)
                asked.append(_Asked.of(said, by_base))
                return asked[-1].loss(said)[None]

            summed_P, slope_PN = self._slopes.of_loss(theta_PN, loss, "distil", tokens=part.windows_BT.size)
            total += numbers(summed_P)[0]
            rows += asked[-1].rows
            gradient_PN += slope_PN
        self._seen += int(self._rows_W[batch_B].sum())
        self._counted += rows
        return (total / rows, gradient_PN / rows) if rows else (0.0, None)

    def _measured(self, first: _First) -> float:
        """The mean divergence on the rows of the first step, from the aims of that step and by its gates."""
        total, rows = 0.0, 0
        for part, asked in zip(self._parts(first.batch_B), first.asked, strict=True):
            self._engine.meter.forward["distil"] += part.windows_BT.size
            total += float(asked.loss(self._said(part)))
            rows += asked.rows
        return total / rows

    def _parts(self, batch_B: Indices) -> Iterator[_Part]:
        """The batch in parts that fit memory, each with what the teachers say of it."""
        job = self._job
        of_tokens = [one for one in job.teachers if one.at_R is None]
        of_symbols = [one for one in job.teachers if one.at_R is not None]
        at_once = max(1, _LOGITS_AT_ONCE // (self._engine.vocabulary * job.windows_WT.shape[1]))
        for start in range(0, len(batch_B), at_once):
            part_B = batch_B[start : start + at_once]
            windows_BT = job.windows_WT[part_B]
            true_R = torch.tensor(
                windows_BT[:, 1:][bearing(windows_BT)], dtype=torch.int64, device=self._engine.base.device
            )
            rows = rows_of(job.windows_WT, part_B)
            symbols = None
            if of_symbols:
                assert self._symbols_V is not None, "byte rows need the symbols of the student's tokens"
                symbols = Targets.of(of_symbols, rows, self._symbols_V[true_R])
            yield _Part(windows_BT, Targets.of(of_tokens, rows, true_R) if of_tokens else None, symbols)

    def _said_by_base(self, theta_PN: torch.Tensor, part: _Part) -> list[Said]:
        """As `_said` under the base alone: an adapter of zeros changes nothing."""
        self._engine.meter.forward["distil"] += part.windows_BT.size
        return self._slopes.without_gradient(torch.zeros_like(theta_PN), lambda: self._said(part))

    def _said(self, part: _Part) -> list[Said]:
        """For each group of teachers the student's log-probabilities of its outcomes, `(R, O)`."""
        tokens_BT, bears_BU = tokens_and_mask(part.windows_BT, self._engine.base.device)
        logits_RV = bearing_rows(self._engine.logits(tokens_BT), bears_BU).float()
        said: list[Said] = []
        if part.tokens is not None:
            said.append((logits_RV - torch.logsumexp(logits_RV, dim=-1, keepdim=True), part.tokens))
        if part.symbols is not None:
            assert self._symbols_V is not None
            chances_RS = symbol_probabilities(logits_RV, self._symbols_V)
            said.append((chances_RS.clamp(min=_NOTHING).log(), part.symbols))
        return said


@dataclass(frozen=True, slots=True, eq=False)
class _First:
    """The first batch that taught, and what was asked of it: what the divergence after all steps is measured on."""

    batch_B: Indices
    asked: tuple[_Asked, ...]


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
