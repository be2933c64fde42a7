"""What a peer can expect of a network, from the few numbers that it knows, as a sentence for its user.

`GAINS` is measured by `benchmarks/gain_map.py` on three languages with a model of 0.17 million parameters, against the
best that a device reaches alone (early stopping and averages of its own iterates, chosen by its trust split). It gives
an order of magnitude; other text and larger models gain other amounts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Final

from trust.record.history import Begun, Record, Round

GAINS: Final = ((2_560, 0.075), (5_120, 0.068), (10_240, 0.075))
"""(training tokens of a peer, share of the perplexity saved by merging with two relatives), ascending by tokens. Nine
peers, one seed; the 95 % intervals over users are within 0.011 (sim/FINDINGS.md)."""


def expected_gain(tokens: int) -> float:
    """The share of the perplexity that two relatives save a peer of so many training tokens, in [0, 1].

    Linear in the logarithm of the tokens between the measured points; beyond them that of the nearest.
    """
    if tokens <= GAINS[0][0]:
        return GAINS[0][1]
    for (low, before), (high, after) in pairwise(GAINS):
        if tokens < high:
            return before + (after - before) * math.log(tokens / low) / math.log(high / low)
    return GAINS[-1][1]


def expectation(*, tokens: int, relatives: int) -> str:
    """One sentence about what to expect with so many training tokens and neighbours whose text is of the same kind, and
    what would help. `relatives` are the neighbours that lowered this peer's trust loss."""
    if relatives < 1:
        return (
            f"With {tokens:,} tokens and nobody here whose text is like yours, expect no more than you reach "
            f"alone; what would help is a peer with text of your kind."
        )
    gain = f"about {100 * expected_gain(tokens):.0f} % less perplexity than the best you reach alone"
    if not GAINS[0][0] <= tokens <= GAINS[-1][0]:
        gain += f" (measured with {_nearest(tokens):,} tokens)"
    if relatives == 1:
        return (
            f"With {tokens:,} tokens and one peer with text of your kind, expect less than with two: {gain}."
        )
    return f"With {tokens:,} tokens and {relatives} peers with text of your kind, expect {gain}."


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


def _nearest(tokens: int) -> int:
    """The measured amount of text nearest to an amount beyond all."""
    return GAINS[0][0] if tokens < GAINS[0][0] else GAINS[-1][0]
