"""Push-sum for the toy learner: its mass in whole numbers, and the totals sent along each edge.

As in `gossipllm.learning.merging.push`, and by the same laws for mass that is impossible, implausible or too heavy,
without numpy: what is sent is cut to 64 bits, and a peer whose weight is nearly used up pushes nothing until it
receives.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import msgspec

ONE = 2**32
"""Units of mass in a weight of 1."""

MOST_GAIN = 4.0
"""As `gossipllm.learning.merging.push.push.MOST_GAIN`."""
MOST = 64
"""Largest ratio of two weights that is taken for honest."""

FAR = 16
"""Largest ratio of the lengths of another mean and the own one, of which each number counts as at least `UNIT`."""

UNIT = 4.0

_MODULUS = 2**64
_MOST_HELD = 2**62
_LEAST_PUSHED = ONE // 2**20


class Edge(msgspec.Struct, array_like=True):
    """Total mass sent along an edge, modulo 2^64, and at the receiver the sender's round of the newest total."""

    total: list[int]
    round: int = -1


class ToyMass(msgspec.Struct):
    """`held` are the numerators and then the denominator, `added` all mass that this peer brought into the network."""

    held: list[int]
    added: list[int]
    sent: dict[str, Edge]
    received: dict[str, Edge]

    @classmethod
    def begin(cls, values: Sequence[float], weight: float) -> ToyMass:
        held = [*(round(value * weight * ONE) for value in values), round(weight * ONE)]
        return cls(held=held, added=list(held), sent={}, received={})

    def estimate(self) -> tuple[float, ...]:
        *numerators, denominator = self.held
        return tuple(number / denominator for number in numerators)

    def add(self, delta: Sequence[float], weight: float) -> None:
        """Add the change of a local step. It moves the estimate by at most `MOST_GAIN` times the change."""
        weight = min(weight, MOST_GAIN * self.held[-1] / ONE)
        for axis, value in enumerate(delta):
            self.held[axis] += round(value * weight * ONE)
            self.added[axis] += round(value * weight * ONE)

    def push(self, receivers: Sequence[str]) -> dict[str, bytes]:
        """Share the mass equally with the receivers. Returns the message for each: the new total of its edge."""
        share = [number // (len(receivers) + 1) for number in self.held]
        if share[-1] < _LEAST_PUSHED:
            share = [0] * len(share)
        told: dict[str, bytes] = {}
        for peer in receivers:
            edge = self.sent.setdefault(peer, Edge([0] * len(share)))
            edge.total = [
                (total + number) % _MODULUS for total, number in zip(edge.total, share, strict=True)
            ]
            self.held = [held - number for held, number in zip(self.held, share, strict=True)]
            told[peer] = struct.pack(f"<{len(share)}Q", *edge.total)
        return told

    def receive(self, peer: str, round_: int, told: bytes) -> bool:
        """Take in what a message adds to the edge's total, as far as it is plausible; an old or repeated message adds
        nothing. False, and nothing is taken, for one that no honest peer can have sent."""
        edge = self.received.get(peer) or Edge([0] * len(self.held))
        if round_ <= edge.round:
            return True
        total = struct.unpack(f"<{len(self.held)}Q", told)
        fresh = [_signed(now - before) for now, before in zip(total, edge.total, strict=True)]
        held = [held + number for held, number in zip(self.held, fresh, strict=True)]
        if fresh[-1] < 0 or not all(abs(number) < _MOST_HELD for number in (*fresh, *held)):
            return False
        if not fresh[-1] and any(fresh):
            return False
        if not self._plausible(fresh):
            return True
        most = MOST * max(self.added[-1], ONE)
        if fresh[-1] > most:
            fresh = [*(number * most // fresh[-1] for number in fresh[:-1]), most]
        self.held = [held + number for held, number in zip(self.held, fresh, strict=True)]
        taken = [(before + number) % _MODULUS for before, number in zip(edge.total, fresh, strict=True)]
        self.received[peer] = Edge(taken, round_)
        return True

    def _plausible(self, fresh: Sequence[int]) -> bool:
        """Whether the mean of a share is near enough to that of what this peer brought itself."""
        if not fresh[-1] or not self.added[-1]:
            return True
        theirs = math.hypot(*(number / fresh[-1] for number in fresh[:-1]))
        ours = math.hypot(*(number / self.added[-1] for number in self.added[:-1]))
        return theirs <= FAR * max(ours, UNIT * math.sqrt(len(fresh) - 1))


def _signed(difference: int) -> int:
    return (difference + _MODULUS // 2) % _MODULUS - _MODULUS // 2
