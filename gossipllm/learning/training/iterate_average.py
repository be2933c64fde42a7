"""The moving average of the adapters that a learner's local steps result in, one of each round.

Steps at a constant rate end in a different place around the minimum in each round; the average of these places is
nearer to it (Polyak averaging; SWA, 1803.05407). A device can take it alone, and it is a state like any other: it can
be gone back to, announced and exported. Which state is better, the last one or the average, is for the trust split.
A snapshot holds the average up to its state. A learner that goes back to an earlier state goes on with the average of
that time where merges did harm, and with the present one where it had only stopped gaining (`Restore.keeps_average`).

A and B are averaged apart, although the product of averages is not the average of products. The reason is that these
adapters lie on one trajectory, where they differ little and stay factors of the same rank: an average of products
would have to be cut to that rank in each round. Merging adapters of *different* peers is another matter, and has its
own rules (`gossipllm.learning.merging.rules.rules`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from gossipllm.learning.learner_state import LearnerState
from gossipllm.model.adapter.names import State
from wire.floats import F32

DECAY: Final = 0.9
"""What of the average each round keeps: it remembers some ten rounds. Measured beside 0.7, 0.8, the mean of all rounds,
which never forgets a bad start, and weights that grow with the round (sim/FINDINGS.md)."""


def weight_of(count: int) -> float:
    """The weight of adapter number `count`, from 1 on, against the average so far. The first ones count in proportion
    to their number, so that early rounds, in which most is learned, are soon forgotten."""
    return max(2 / (count + 1), 1 - DECAY)


def between(one: F32, other: F32, weight: float) -> F32:
    return (one + weight * (other - one)).astype(np.float32)


def with_iterate(now: LearnerState) -> LearnerState:
    """`now` with its present adapter in its average."""
    count, weight = now.averaged + 1, weight_of(now.averaged + 1)
    average: State = (
        now.state
        if count == 1
        else {name: between(now.average[name], value, weight) for name, value in now.state.items()}
    )
    return replace(now, average=average, averaged=count)


def at_average(now: LearnerState) -> LearnerState:
    """A learner at the average, which it keeps, and with it the optimiser's moments."""
    return replace(now, state=now.average, start=now.average)


def with_average_of(now: LearnerState, other: LearnerState) -> LearnerState:
    """`now` with the average of `other`, or with its own where that is none or of another rank."""
    fits = all(
        name in now.state and now.state[name].shape == value.shape for name, value in other.average.items()
    )
    return replace(now, average=other.average, averaged=other.averaged) if other.average and fits else now


def without_average(now: LearnerState) -> LearnerState:
    return replace(now, average={}, averaged=0)
