"""How batch and learning rate follow from a device's pace: the planner's equations with the constants that were fitted.

**Batch.** A step of `B` tokens takes `a + c B` seconds (`pace.py`), and reaching a loss takes `S_min (1 + B_crit / B)`
steps (McCandlish et al. 2018, 1812.06162, eq. 2.7), so that the time is least at `sqrt(B_crit a / c)`.

**Rate.** AdamW's rises with a power of the batch, the square root above the reference batch (Malladi et al. 2022,
2205.10287), and with another below it. It falls as models grow wider than the one that it was fitted to, with one over
the width (Yang et al. 2022, 2203.03466, table 3): from 8e-3 at 256 to 2.7e-3 at 768, where Wagner et al. (2024, section
4) train at 2e-3.

`python benchmarks/planner_cases.py` fits the constants to curves of real training, and says how near the best of a grid
they come on texts and devices that they were not fitted to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

REFERENCE_TOKENS: Final = 1024
"""The batch at which `Law.rate` holds: the default of eight windows of 128 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    critical_tokens: float = 640.0
    """The critical batch size, above 0. It rises as the loss falls, so that later in a run a larger batch would be
    better. Fitted; the same as by the tokens to equal loss of batches of 2, 4 and 8 windows."""

    rate: float = 8e-3
    """AdamW's peak rate at the reference batch and width, above 0 to 1. Fitted; 2e-3, the default of `TrainingConfig`,
    took twice as long or more on all devices."""

    width: int = 256
    """Width of hidden states up to which the rate holds, at least 1. That of the embedded model."""

    power: float = 0.5
    """Power of the batch with which the rate rises above the reference, 0 to 1. Malladi et al."""

    low_power: float = 0.25
    """The same below the reference. Fitted to devices alone; in a network small batches bear larger rates, because the
    mean over peers is a large batch again (Photon, 2411.02908; `benchmarks/device_study.py`)."""

    least_tokens: int = 64
    """Fewest tokens of a step, at least 1. The least that was tried."""

    def __post_init__(self) -> None:
        if not 0 < self.critical_tokens < math.inf:
            raise ValueError(f"critical_tokens must be above 0, got {self.critical_tokens}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be in (0, 1], got {self.rate}")
        for name in ("power", "low_power"):
            value: float = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in 0..1, got {value}")
        for name in ("least_tokens", "width"):
            least: int = getattr(self, name)
            if least < 1:
                raise ValueError(f"{name} must be at least 1, got {least}")

    def batch_tokens(self, knee: float) -> float:
        """Tokens of the step that reaches a loss soonest on a device whose passes have this knee."""
        return math.sqrt(self.critical_tokens * knee)

    def rate_at(self, batch_tokens: float, *, width: int = 0) -> float:
        """The peak rate at this batch, for a model of this width; 0 where that is not known."""
        share = batch_tokens / REFERENCE_TOKENS
        wider = self.width / max(self.width, width)
        return min(1.0, wider * self.rate * share ** (self.power if share > 1 else self.low_power))


LAW: Final = Law()
"""What the planner goes by."""
