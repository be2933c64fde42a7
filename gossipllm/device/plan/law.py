"""How batch and learning rate follow from the pace of a device and the gradient noise of a text: the planner's
equations, with the constants that were fitted.

**Noise.** The simple noise scale of gradients is the trace of their covariance over the square of their mean, in tokens
(McCandlish et al. 2018, 1812.06162, eq. 2.9). Text that is new to a model has little (200 to 500 tokens where the
embedded models begin on French), text that it knows much (5,000 to 8,000, English). It is measured at the start, rises
while the text is learned, and so counts with a power below 1.

**Batch.** A step of `B` tokens takes `a + c B` seconds (`pace.py`), and reaching a loss takes `S_min (1 + B_crit / B)`
steps (McCandlish et al., eq. 2.7), so that the time is least at `sqrt(B_crit a / c)`.

**Rate.** AdamW's rises with the square root of the batch (Malladi et al. 2022, 2205.10287) up to a batch at which noise
no longer bounds it (Li et al. 2024, 2405.14578), and is constant above. It falls as models grow wider than the one that
it was fitted to, with one over the width (Yang et al. 2022, 2203.03466, table 3): from 8e-3 at 256 to 2.7e-3 at 768,
where Wagner et al. (2024, section 4) train at 2e-3.

`python benchmarks/planner_cases.py` fits the constants to curves of real training, and says how near the best of a grid
they come on texts and devices that they were not fitted to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    critical_tokens: float = 640.0
    """The critical batch size at `noise_tokens`, above 0. Fitted."""

    rate: float = 8e-3
    """AdamW's peak rate from the reference batch on, at the reference width, above 0 to 1. Fitted; 2e-3, the default of
    `TrainingConfig`, took twice as long or more on all devices."""

    reference_tokens: float = 256.0
    """The batch from which the rate no longer rises, at `noise_tokens`, above 0. Fitted."""

    power: float = 0.5
    """Power of the batch with which the rate rises up to there, 0 to 1. Malladi et al. In a network small batches bear
    larger rates, because the mean over peers is a large batch again (Photon, 2411.02908;
    `benchmarks/device_study.py`)."""

    noise_tokens: float = 250.0
    """The noise scale at which the two batch sizes hold, above 0. That of French where the embedded small model
    begins."""

    noise_power: float = 0.25
    """Power of the noise scale with which the two batch sizes rise, 0 to 1. Fitted; 1 would be the theory's for a noise
    scale that did not rise while a text is learned."""

    width: int = 256
    """Width of hidden states up to which the rate holds, at least 1. That of the embedded model."""

    least_tokens: int = 64
    """Fewest tokens of a step, at least 1. The least that was tried."""

    def __post_init__(self) -> None:
        for name in ("critical_tokens", "reference_tokens", "noise_tokens"):
            tokens: float = getattr(self, name)
            if not 0 < tokens < math.inf:
                raise ValueError(f"{name} must be above 0, got {tokens}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be in (0, 1], got {self.rate}")
        for name in ("power", "noise_power"):
            value: float = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in 0..1, got {value}")
        for name in ("least_tokens", "width"):
            least: int = getattr(self, name)
            if least < 1:
                raise ValueError(f"{name} must be at least 1, got {least}")

    def at_noise(self, noise_tokens: float) -> Law:
        """The law for a text of this noise scale; this one where it is 0, not known."""
        if not noise_tokens > 0:
            return self
        times = (noise_tokens / self.noise_tokens) ** self.noise_power
        return replace(
            self,
            critical_tokens=times * self.critical_tokens,
            reference_tokens=times * self.reference_tokens,
            noise_tokens=noise_tokens,
        )

    def batch_tokens(self, knee: float) -> float:
        """Tokens of the step that reaches a loss soonest on a device whose passes have this knee."""
        return math.sqrt(self.critical_tokens * knee)

    def rate_at(self, batch_tokens: float, *, width: int = 0) -> float:
        """The peak rate at this batch, for a model of this width; 0 where that is not known."""
        wider = self.width / max(self.width, width)
        return wider * self.rate * min(1.0, batch_tokens / self.reference_tokens) ** self.power


LAW: Final = Law()
"""What the planner goes by."""
