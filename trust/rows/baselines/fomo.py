"""Strategy "fomo": weights in proportion to the decrease of the loss per distance (FedFomo, arXiv 2012.08565)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trust.rows.evidence import MAX_DISTANCE, Distance, Neighbour


def progress_distance(before_loss: float, after_loss: float, step_norm: float) -> Distance:
    """FedFomo's measure (equation 3), negated so that less is better: (after - before) / norm of the step.

    Below 0 where the step lowers the loss. Losses are those of this peer's windows, in nats; the step goes from the
    parameters before to those of the candidate. 0 for a step of norm 0; clipped to +-1e100. No error is known. Raises
    `ValueError` for a loss that is not finite, and for a norm that is negative or not finite.
    """
    if not (math.isfinite(before_loss) and math.isfinite(after_loss)):
        raise ValueError(f"losses must be finite, got {before_loss} and {after_loss}")
    if not 0 <= step_norm < math.inf:
        raise ValueError(f"step_norm must be finite and at least 0, got {step_norm}")
    if step_norm == 0:
        return Distance(0.0, 0.0)
    return Distance(min(max((after_loss - before_loss) / step_norm, -MAX_DISTANCE), MAX_DISTANCE), 0.0)


def gain_weights(neighbours: Sequence[Neighbour]) -> list[float]:
    """Weights by FedFomo's equation 3: in proportion to the gain, 0 for a neighbour without gain.

    `(K+1,)`, the peer itself first, whose own local step counts like a neighbour's. A peer that gains from no neighbour
    keeps everything.
    """
    # Equal for all neighbours of a round; min rather than the first, so that the order of neighbours cannot matter.
    own = min(neighbour.own[0] for neighbour in neighbours)
    gains = [max(0.0, -measure) for measure in (own, *(each.distances[0].mean for each in neighbours))]
    whole = math.fsum(gains)
    if not whole:
        return [1.0, *(0.0 for _ in neighbours)]
    return [gain / whole for gain in gains]
