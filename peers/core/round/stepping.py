"""How many local steps a round takes: as many as configured, or as fit into the configured time."""

from __future__ import annotations

import math
from typing import Final

from peers.core.config import RoundConfig
from peers.core.saved import LocalSteps

MOST_TIMES: Final = 4.0
"""How many times the steps of the round before a round takes at most, so that one measurement that a sleeping or busy
machine made wrong does not make a round of hours. Guess."""
_MOST_STEPS: Final = 100_000
_LEEWAY: Final = 0.25
"""Part of a step by which a round may be longer than it should be, because times are measured. A whole step of a slow
device would hold up all that are faster: at speeds 1:2:4:8 rounded steps made a round an eighth longer for them, and
one device wait 15 % of its time (sim/FINDINGS.md)."""


def round_steps(config: RoundConfig, last: LocalSteps | None) -> int:
    """Steps of the next round, at least 1. `last` are the local steps of the last round that had any, None before the
    first."""
    if not config.seconds or last is None or last.steps < 1 or not last.seconds > 0:
        return config.steps
    fit = config.seconds / last.seconds * last.steps
    return min(_MOST_STEPS, max(1, math.floor(min(fit, MOST_TIMES * last.steps) + _LEEWAY)))
