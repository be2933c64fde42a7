"""Strategy "fomo": weights in proportion to the loss gained for the distance gone (FedFomo, arXiv 2012.08565)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trust.rows.evidence import MAX_DISTANCE, Distance, Neighbour


def progress_distance(before_loss: float, after_loss: float, step_norm: float) -> Distance:
    """Minus the loss gained for the distance gone, (after - before) / norm: FedFomo's measure (equation 3), negated
    so that less is better. Below 0 where the step lowers the loss.

    Losses of this peer's windows, in nats; the norm of the step from the parameters before to those weighed. 0
    where that is 0, and held within 1e100 either way. No error is known. Raises `ValueError` for a loss that is not
    finite or a norm that is none.
    """
    if not (math.isfinite(before_loss) and math.isfinite(after_loss)):
        raise ValueError(f"losses must be finite, got {before_loss} and {after_loss}")
    if not 0 <= step_norm < math.inf:
        raise ValueError(f"step_norm must be finite and at least 0, got {step_norm}")
    if step_norm == 0:
        return Distance(0.0, 0.0)
    return Distance(min(max((after_loss - before_loss) / step_norm, -MAX_DISTANCE), MAX_DISTANCE), 0.0)


def gain_weights(neighbours: Sequence[Neighbour]) -> list[float]:
    """FedFomo's equation 3: in proportion to the gain, nothing for a neighbour that brings none.

    `(K+1,)`, the peer itself first, whose own step counts like a neighbour's. A peer that gains from nobody keeps
    everything.
    """
    own = min(neighbour.own[0] for neighbour in neighbours)
    gains = [max(0.0, -measure) for measure in (own, *(each.distances[0].mean for each in neighbours))]
    whole = math.fsum(gains)
    if not whole:
        return [1.0, *(0.0 for _ in neighbours)]
    return [gain / whole for gain in gains]
