"""Push-sum for the toy learner: its mass in whole numbers, and the totals sent along each edge.

As in `gossipllm.learning.merging.mass`, without numpy and without bounds: Python's integers do not overflow, so only
what is sent is cut to 64 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

ONE = 2**32
"""Units of mass in a weight of 1."""

_MODULUS = 2**64


class Edge(msgspec.Struct, array_like=True):
    """Total mass sent along an edge, and at the receiver the sender's round of the newest total."""

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
        """Add the change of a local step."""
        for axis, value in enumerate(delta):
            self.held[axis] += round(value * weight * ONE)
            self.added[axis] += round(value * weight * ONE)

    def push(self, receivers: Sequence[str]) -> dict[str, bytes]:
        """Share the mass equally with the receivers. Returns the message for each: the new total of its edge."""
        share = [number // (len(receivers) + 1) for number in self.held]
        told: dict[str, bytes] = {}
        for peer in receivers:
            edge = self.sent.setdefault(peer, Edge([0] * len(share)))
            edge.total = [total + number for total, number in zip(edge.total, share, strict=True)]
            self.held = [held - number for held, number in zip(self.held, share, strict=True)]
            told[peer] = struct.pack(f"<{len(share)}Q", *(number % _MODULUS for number in edge.total))
        return told

    def receive(self, peer: str, round_: int, told: bytes) -> None:
        """Take in what a message adds to the edge's total; an old or repeated message adds nothing."""
        edge = self.received.setdefault(peer, Edge([0] * len(self.held)))
        if round_ <= edge.round:
            return
        total = struct.unpack(f"<{len(self.held)}Q", told)
        fresh = [_signed(now - before) for now, before in zip(total, edge.total, strict=True)]
        self.held = [held + number for held, number in zip(self.held, fresh, strict=True)]
        edge.total = [before + number for before, number in zip(edge.total, fresh, strict=True)]
        edge.round = round_


def _signed(difference: int) -> int:
    return (difference + _MODULUS // 2) % _MODULUS - _MODULUS // 2
