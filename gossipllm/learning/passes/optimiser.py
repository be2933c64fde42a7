"""AdamW, or plain gradient descent, for P adapters at once, each with its own count of steps and its own rate.

The arithmetic is that of torch's AdamW (Loshchilov and Hutter, arXiv 1711.05101), up to rounding, which a test checks.
torch's own keeps one step count for each tensor; here the rows of one tensor belong to peers that may have joined at
different times, each with its own count.

Moments and step counts are kept through a merge, as in the released code of Wagner et al. (2024): merging returns
factors in coordinates near the previous ones, so that a moment still belongs to the entry it was measured on. Fresh
moments would cost a warm-up in every round. Where a round trains other units than the last one, nothing can be kept:
moments and their bias correction begin at zero, while the rate's schedule goes on.

Axes: P adapters, N parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

import torch

from gossipllm.config import TrainingConfig

BETAS: Final = (0.9, 0.95)
EPSILON: Final = 1e-8
FINAL_RATE_SHARE: Final = 0.1


class Optimiser(Protocol):
    """Takes the steps of P adapters. `mask_PN` is 1 where an entry may change and 0 elsewhere; None lets all change."""

    taken: list[int]

    def step(
        self, theta_PN: torch.Tensor, gradient_PN: torch.Tensor, mask_PN: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Change `theta_PN` in place. Returns the norms of the masked gradients before clipping, `(P,)`.

        `gradient_PN` is scratch space afterwards.
        """
        ...


class AdamW:
    """`first_PN` and `second_PN` are changed in place. Gradients are clipped by each adapter's own norm."""

    def __init__(
        self,
        configs: Sequence[TrainingConfig],
        *,
        first_PN: torch.Tensor,
        second_PN: torch.Tensor,
        taken: Sequence[int],
        since: Sequence[int] | None = None,
    ) -> None:
        self.first_PN = first_PN
        self.second_PN = second_PN
        self.taken = list(taken)
        self._since = list(since or [0] * len(self.taken))
        self._configs = configs

    def step(
        self, theta_PN: torch.Tensor, gradient_PN: torch.Tensor, mask_PN: torch.Tensor | None = None
    ) -> torch.Tensor:
        if mask_PN is not None:
            gradient_PN.mul_(mask_PN)
        norm_P1 = gradient_PN.square().sum(dim=1, keepdim=True).sqrt()
        clip_P1 = _column([one.clip_norm for one in self._configs], theta_PN)
        gradient_PN.mul_((clip_P1 / (norm_P1 + 1e-6)).clamp_(max=1.0))
        rates = [rate(steps, one) for steps, one in zip(self.taken, self._configs, strict=True)]
        self.taken = [steps + 1 for steps in self.taken]
        ages = [steps - since for steps, since in zip(self.taken, self._since, strict=True)]
        small, large = BETAS
        decay = [1 - r * one.weight_decay for r, one in zip(rates, self._configs, strict=True)]
        size = [r / (1 - small**age) for r, age in zip(rates, ages, strict=True)]
        spread = [math.sqrt(1 - large**age) for age in ages]
        self.first_PN.lerp_(gradient_PN, 1 - small)
        self.second_PN.mul_(large).addcmul_(gradient_PN, gradient_PN, value=1 - large)
        torch.sqrt(self.second_PN, out=gradient_PN)
        gradient_PN.div_(_column(spread, theta_PN)).add_(EPSILON)
        decay_P1 = _column(decay, theta_PN)
        # Masked entries have zero moments and keep them, so that weight decay alone would still move them.
        theta_PN.mul_(decay_P1 if mask_PN is None else torch.where(mask_PN > 0, decay_P1, 1.0))
        theta_PN.sub_(self.first_PN.div(gradient_PN).mul_(_column(size, theta_PN)))
        return norm_P1.squeeze(1)


class Descent:
    """Plain gradient descent, theta - rate * gradient, for comparison with theory."""

    def __init__(self, configs: Sequence[TrainingConfig], *, taken: Sequence[int]) -> None:
        self.taken = list(taken)
        self._configs = configs

    def step(
        self, theta_PN: torch.Tensor, gradient_PN: torch.Tensor, mask_PN: torch.Tensor | None = None
    ) -> torch.Tensor:
        if mask_PN is not None:
            gradient_PN.mul_(mask_PN)
        norm_P = gradient_PN.square().sum(dim=1).sqrt()
        rates = [rate(steps, one) for steps, one in zip(self.taken, self._configs, strict=True)]
        self.taken = [steps + 1 for steps in self.taken]
        theta_PN.sub_(gradient_PN.mul_(_column(rates, theta_PN)))
        return norm_P


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def rate(step: int, config: TrainingConfig) -> float:
    """The learning rate of the step after `step` steps.

    "linear": a linear warm-up, then constant or a cosine, which reaches `FINAL_RATE_SHARE` of the peak at
    `decay_steps` and stays there. "onecycle": torch's `OneCycleLR` with its two cosines, from a hundredth of the
    peak to a fifth, as the released code of Wagner et al. (2024) sets it.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "onecycle":
        # OneCycleLR reaches the peak one step before the end of its warm-up, and the end at the last step.
        top, end = max(warmup - 1, 1), config.decay_steps - 1
        if step <= top:
            return _along_cosine(peak / 100, peak, step / top)
        return _along_cosine(peak, peak / 5, min(1.0, (step - top) / max(end - top, 1)))
    if step < warmup:
        return peak * (step + 1) / warmup
    if not config.decay_steps:
        return peak
    share = min(1.0, (step - warmup) / (config.decay_steps - warmup))
    return _along_cosine(peak, peak * FINAL_RATE_SHARE, share)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
