"""How batch and learning rate follow from a device's pace: the planner's equations with the constants that were fitted.

**Batch.** A step of `B` tokens takes `a + c B` seconds (`pace.py`), and reaching a loss takes `S_min (1 + B_crit / B)`
steps (McCandlish et al. 2018, 1812.06162, eq. 2.7), so that the time is least at `sqrt(B_crit a / c)`.

**Rate.** AdamW's rises with a power of the batch, the square root above the reference batch (Malladi et al. 2022,
2205.10287), and with another below it.

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
    better. 640 by the tokens to equal loss of batches of 2, 4 and 8 windows (the embedded base on French, one seed)."""

    rate: float = 2e-3
    """AdamW's peak rate at the reference batch, above 0 to 1. Wagner et al. (2024), section 4."""

    power: float = 0.5
    """Power of the batch with which the rate rises above the reference, 0 to 1. Malladi et al."""

    low_power: float = 0.0
    """The same below the reference. 0 keeps the rate: small batches at large rates were better alone
    (`benchmarks/planned_peer.py`; Photon, 2411.02908)."""

    least_tokens: int = 256
    """Fewest tokens of a step, at least 1. Guess: two windows of the default length."""

    def __post_init__(self) -> None:
        if not 0 < self.critical_tokens < math.inf:
            raise ValueError(f"critical_tokens must be above 0, got {self.critical_tokens}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be in (0, 1], got {self.rate}")
        for name in ("power", "low_power"):
            value: float = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in 0..1, got {value}")
        if self.least_tokens < 1:
            raise ValueError(f"least_tokens must be at least 1, got {self.least_tokens}")

    def batch_tokens(self, knee: float) -> float:
        """Tokens of the step that reaches a loss soonest on a device whose passes have this knee."""
        return math.sqrt(self.critical_tokens * knee)

    def rate_at(self, batch_tokens: float) -> float:
        share = batch_tokens / REFERENCE_TOKENS
        return min(1.0, self.rate * share ** (self.power if share > 1 else self.low_power))


LAW: Final = Law()
"""What the planner goes by."""
