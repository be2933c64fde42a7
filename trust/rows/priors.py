"""What is held for or against a peer whatever its distance: how old its word is, how much text it speaks for.

An amount of text is the peer's own claim, so it counts up to a bound: `cap` times the median over whoever is here.
Of an even number that is the lower median, so that of two peers neither sets the bound for itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low
from typing import Final, NamedTuple

from trust.rows.config import TrustConfig


class Counts(NamedTuple):
    """The text that a peer speaks for: tokens that bear loss, and samples."""

    tokens: int = 0
    samples: int = 0


NO_TEXT: Final = Counts()


def age_priors(ages: Sequence[int], *, decay: float, max_age: int) -> tuple[float, ...]:
    """A factor in [0, 1] for each neighbour: `(1 + age) ** -decay`, and 0 above `max_age` rounds.

    The polynomial discount of asynchronous federated learning (Xie et al. 2019, arXiv 1903.03934):
    1 for fresh news, slower than exponential, so that one missed round costs little.
    """
    for age in ages:
        if age < 0:
            raise ValueError(f"age must be at least 0, got {age}")
    return tuple((1.0 + age) ** -decay if age <= max_age else 0.0 for age in ages)


def token_shares(counts: Sequence[Counts], *, alpha: float, cap: float) -> tuple[float, ...]:
    """Each peer's share of the text of all here, `(K+1,)`, self first; non-negative, summing to 1.

        q_j = alpha * tokens_j / all tokens + (1 - alpha) * samples_j / all samples,    at most cap * median(q)

    The median is the lower one of an even number, and that of the shares above 0 where it is 0. Where nobody
    has tokens, samples decide alone, and tokens where nobody has samples; without either, all are equal. For
    alpha 0 or 1 and below the bound, the ratio of two shares does not depend on who else is here; between, it
    does, because each of the two sums goes over all here.
    """
    if not counts:
        raise ValueError("counts must be of at least one peer, got none")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in 0..1, got {alpha}")
    if not cap >= 1:
        raise ValueError(f"cap must be at least 1, got {cap}")
    tokens = _shares([one.tokens for one in counts])
    samples = _shares([one.samples for one in counts])
    equal = [1 / len(counts)] * len(counts)
    by_tokens, by_samples = tokens or samples or equal, samples or tokens or equal
    shares = [alpha * t + (1 - alpha) * n for t, n in zip(by_tokens, by_samples, strict=True)]
    middle = median_low(shares) or median_low([share for share in shares if share > 0])
    capped = [min(share, cap * middle) for share in shares]
    whole = math.fsum(capped)
    return tuple(share / whole for share in capped)


def token_weighted(
    row: Sequence[float], counts: Sequence[Counts], config: TrustConfig, *, alpha: float = 1.0
) -> tuple[float, ...]:
    """A row times the shares of the text to the power of `tokens_power`, summing to 1; at power 0 as it is.

    Self comes first in both, and `alpha` is that of `alpha_of`. Where nothing is left, because those in the row
    have no text, the peer keeps everything.
    """
    if len(row) != len(counts):
        raise ValueError(f"counts must be one for each weight of the row, got {len(counts)} for {len(row)}")
    if not config.tokens_power:
        return tuple(row)
    shares = token_shares(counts, alpha=alpha, cap=config.tokens_cap)
    # In units of the largest, so that no power of all of them vanishes.
    most = max(shares)
    weights = [w * (share / most) ** config.tokens_power for w, share in zip(row, shares, strict=True)]
    whole = math.fsum(weights)
    if not whole:
        return (1.0, *(0.0 for _ in weights[1:]))
    return tuple(weight / whole for weight in weights)


def _shares(amounts: Sequence[int]) -> list[float] | None:
    """Parts of the sum; None where there is nothing to share."""
    for amount in amounts:
        if amount < 0:
            raise ValueError(f"counts must be at least 0, got {amount}")
    whole = sum(amounts)
    return [amount / whole for amount in amounts] if whole else None
