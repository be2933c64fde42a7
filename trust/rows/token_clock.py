"""The network's token clock: how much text all peers together have trained on, as far as their claims can be believed.

A schedule of the learning rate over this clock is one for all devices, however unequal: each adds to it what it trains.
A peer that joins late reads it and enters at its present place. Claims are only claims, so each counts at most `CAP`
times the lower median of all that count, this peer's own included, and claims of peers that have proved nothing count
once for each connection that they came through, however many identities are behind it. Of claims by less than half of
all that count, a false one adds at most `CAP` times an honest one (tests/trust/rows/test_token_clock.py).

A reading can only be too late or too early by that much; what it changes is the rate alone, which stays between its
peak and `FINAL_SHARE` of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median_low
from typing import Final, NamedTuple

CAP: Final = 4.0
"""Most that one peer counts, in lower medians. Of speeds 1:2:4:8 the fastest is four times the lower median. Guess."""
FINAL_SHARE: Final = 0.1
"""Share of the peak rate at the end of the schedule, as that of `TrainingConfig.decay_steps`."""


class TokenClaim(NamedTuple):
    """What a peer says that it trained on. `connection` names the peer that its announcement came through, itself where
    it is connected; `proven` says whether it earned a seat by gains that were measured."""

    tokens: int
    connection: str
    proven: bool


def network_tokens(own: int, claims: Iterable[TokenClaim]) -> int:
    """The clock: the sum of all that count, each capped. 0 where nobody has trained."""
    proven: list[int] = []
    newcomers: dict[str, int] = {}
    for claim in claims:
        if claim.proven:
            proven.append(claim.tokens)
        else:
            newcomers[claim.connection] = max(newcomers.get(claim.connection, 0), claim.tokens)
    counted = [tokens for tokens in (own, *proven, *newcomers.values()) if tokens > 0]
    if not counted:
        return 0
    most = CAP * median_low(counted)
    return math.floor(math.fsum(min(tokens, most) for tokens in counted))


def share_at(clock: int, length: int) -> float:
    """The share of the peak rate when the clock shows `clock` of a schedule of `length` tokens: along a cosine from 1
    to `FINAL_SHARE`, where it stays."""
    done = min(1.0, clock / length)
    return FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2
