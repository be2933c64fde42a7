"""Factors of a neighbour's weight that do not depend on its distance: the age of its announcement, the amount of text.

An amount of text is the peer's own claim, so its share is bounded by `cap` times the median share of the peers in the
row. The lower median is used for an even number, so that of two peers neither sets the bound for itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low
from typing import Final, NamedTuple

from trust.rows.config import TrustConfig


class Counts(NamedTuple):
    """The amount of text that a peer claims: loss-bearing tokens, and samples."""

    tokens: int = 0
    samples: int = 0


NO_TEXT: Final = Counts()

OWN_TIMES: Final = 16
"""How many times as much text as this peer itself a neighbour is believed to have. Guess: with equal steps, devices
differ by their batches."""


def believed(claimed: Counts, own: Counts) -> Counts:
    """What of a claim counts: at most `OWN_TIMES` this peer's own text, where it has any. A majority of false claims
    moves the median that bounds a share in `token_shares`; nobody else can claim for this peer."""
    tokens, samples = (
        min(theirs, OWN_TIMES * ours) if ours else theirs for theirs, ours in zip(claimed, own, strict=True)
    )
    return Counts(tokens, samples)


def age_priors(ages: Sequence[int], *, decay: float, max_age: int) -> tuple[float, ...]:
    """The factor in [0, 1] of each neighbour's weight: `(1 + age) ** -decay`, and 0 above `max_age` rounds.

    The polynomial discount of asynchronous federated learning (Xie et al. 2019, arXiv 1903.03934): 1 for an
    announcement of age 0. It falls more slowly than an exponential, so that one missed round costs little.
    """
    for age in ages:
        if age < 0:
            raise ValueError(f"age must be at least 0, got {age}")
    return tuple((1.0 + age) ** -decay if age <= max_age else 0.0 for age in ages)


def token_shares(counts: Sequence[Counts], *, alpha: float, cap: float) -> tuple[float, ...]:
    """Each peer's share of the text of all peers in the row, `(K+1,)`, self first; non-negative, summing to 1.

        q_j = alpha * tokens_j / all tokens + (1 - alpha) * samples_j / all samples,    at most cap * median(q)

    The median is the lower one of an even number, and that of the shares above 0 where it is 0. Where no peer has
    tokens, samples alone decide, and vice versa; without either, shares are equal. For alpha 0 or 1 and below the
    bound, the ratio of two shares does not depend on the other peers; for other values it does, because the sums over
    tokens and over samples change differently.
    """
    if not counts:
        raise ValueError("counts must be of at least one peer, got none")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in 0..1, got {alpha}")
    if not cap >= 1:
        raise ValueError(f"cap must be at least 1, got {cap}")
    tokens = _shares([peer.tokens for peer in counts])
    samples = _shares([peer.samples for peer in counts])
    equal = [1 / len(counts)] * len(counts)
    by_tokens, by_samples = tokens or samples or equal, samples or tokens or equal
    shares = [alpha * t + (1 - alpha) * n for t, n in zip(by_tokens, by_samples, strict=True)]
    # The median rather than the mean, which a single false claim could raise without limit.
    middle = median_low(shares) or median_low([share for share in shares if share > 0])
    capped = [min(share, cap * middle) for share in shares]
    whole = math.fsum(capped)
    return tuple(share / whole for share in capped)


def token_weighted(
    row: Sequence[float], counts: Sequence[Counts], config: TrustConfig, *, alpha: float = 1.0
) -> tuple[float, ...]:
    """A row times the shares of the text to the power of `tokens_power`, summing to 1; unchanged at power 0.

    The peer itself comes first in `row` and `counts`; `alpha` comes from `alpha_of`. If the product is 0 everywhere,
    because the peers with a weight have no text, the peer keeps everything.
    """
    if len(row) != len(counts):
        raise ValueError(f"counts must be one for each weight of the row, got {len(counts)} for {len(row)}")
    if not config.tokens_power:
        return tuple(row)
    shares = token_shares(counts, alpha=alpha, cap=config.tokens_cap)
    # In units of the largest share, so that at least one power is 1 and they cannot all underflow.
    most = max(shares)
    weights = [w * (share / most) ** config.tokens_power for w, share in zip(row, shares, strict=True)]
    whole = math.fsum(weights)
    if not whole:
        return (1.0, *(0.0 for _ in weights[1:]))
    return tuple(weight / whole for weight in weights)


def _shares(amounts: Sequence[int]) -> list[float] | None:
    """Each amount over the sum of all; None where the sum is 0."""
    for amount in amounts:
        if amount < 0:
            raise ValueError(f"counts must be at least 0, got {amount}")
    whole = sum(amounts)
    return [amount / whole for amount in amounts] if whole else None
