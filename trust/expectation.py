"""What a peer can expect of a network, from the few numbers that it knows, as a sentence for its user.

`GAINS` and `RELATIVES` are measured by `benchmarks/gain_map.py` on three languages with a model of 0.17 million
parameters, against the best that a device reaches alone (early stopping and averages of its own iterates, chosen by its
trust split). They give an order of magnitude; other text and larger models gain other amounts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Final

from trust.record.history import Begun, Record, Round

GAINS: Final = ((2_560, 0.080), (5_120, 0.080), (10_240, 0.101), (20_480, 0.105), (40_960, 0.082))
"""(training tokens of a peer, share of the perplexity saved by merging with two relatives), ascending by tokens. Nine
peers, one seed; the 95 % intervals over users are within 0.013 (sim/FINDINGS.md)."""
RELATIVES: Final = ((1, 0.047), (2, 0.101), (4, 0.155))
"""(relatives, share of the perplexity saved), ascending, with 10,240 tokens a peer: 6, 9 and 15 peers, one seed, the
intervals within 0.012."""


def expected_gain(tokens: int, relatives: int = 2) -> float:
    """The share of the perplexity that relatives save a peer of so many training tokens, in [0, 1].

    Linear in the logarithms of both between the measured points; beyond them that of the nearest. Both were measured by
    themselves, so it is the gain of two relatives times that of so many over that of two.
    """
    of_two = dict(RELATIVES)[2]
    return _between(GAINS, tokens) * _between(RELATIVES, relatives) / of_two


def _between(points: Sequence[tuple[int, float]], at: int) -> float:
    if at <= points[0][0]:
        return points[0][1]
    for (low, before), (high, after) in pairwise(points):
        if at < high:
            return before + (after - before) * math.log(at / low) / math.log(high / low)
    return points[-1][1]


def expectation(*, tokens: int, relatives: int) -> str:
    """One sentence about what to expect with so many training tokens and neighbours whose text is of the same kind, and
    what would help. `relatives` are the neighbours that lowered this peer's trust loss."""
    if relatives < 1:
        return (
            f"With {tokens:,} tokens and nobody here whose text is like yours, expect no more than you reach "
            f"alone; what would help is a peer with text of your kind."
        )
    who = "one peer" if relatives == 1 else f"{relatives} peers"
    gain = (
        f"about {100 * expected_gain(tokens, relatives):.0f} % less perplexity than the best you reach alone"
    )
    bounds = [
        *([f"{_nearest(GAINS, tokens):,} tokens"] if _beyond(GAINS, tokens) else []),
        *([f"{_nearest(RELATIVES, relatives)} peers"] if _beyond(RELATIVES, relatives) else []),
    ]
    measured = f" (measured with {' and '.join(bounds)})" if bounds else ""
    return f"With {tokens:,} tokens and {who} with text of your kind, expect {gain}{measured}."


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the records of a peer say of its text and its relatives: neighbours with at least half of the largest weight
    that a neighbour got in its last row. Less is what a row leaves to those that only do no harm.

    A round that tried nobody, because the peer went back to an earlier state or paused, says nothing of them, nor does
    a look of a settled peer that gained nothing. `relatives` is None before the first round.
    """

    tokens: int = 0
    relatives: int | None = None

    def after(self, record: Record) -> Expectation:
        match record:
            case Begun():
                return replace(self, tokens=record.train_tokens)
            case Round():
                if record.took or (record.guard == "refused" and record.steps):
                    return replace(self, relatives=_relatives([one.weight for one in record.seen]))
                return replace(self, relatives=self.relatives or 0)
            case _:
                return self

    @property
    def sentence(self) -> str:
        """Empty where no round was done, or the amount of text is not known."""
        if self.relatives is None or not self.tokens:
            return ""
        return expectation(tokens=self.tokens, relatives=self.relatives)


def told(records: Iterable[Record]) -> str:
    """The expectation of a peer with this history; empty where it has done no round, or its text is not known."""
    return reduce(Expectation.after, records, Expectation()).sentence


def _relatives(weights: Sequence[float]) -> int:
    most = max(weights, default=0.0)
    return sum(weight > 0 and weight >= most / 2 for weight in weights)


def _beyond(points: Sequence[tuple[int, float]], at: int) -> bool:
    return not points[0][0] <= at <= points[-1][0]


def _nearest(points: Sequence[tuple[int, float]], at: int) -> int:
    """The measured point nearest to one beyond all."""
    return points[0][0] if at < points[0][0] else points[-1][0]
