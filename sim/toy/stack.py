"""Merging in a toy network: this peer's vector and its neighbours' updates, merged and measured by rows.

As `gossipllm.learning.merging.stack.Stack`, on four numbers and without numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

from gossipllm.config.choices import Missing
from sim.toy.units import DIMENSION, Form, Held, Vector, merged, part_vector, whole_vector
from wire.digest import Content


class ToyStack:
    """`w` is this peer's vector, `trained` the numbers that it trained, `updates` those of the neighbours."""

    def __init__(self, form: Form, w: Vector, trained: Sequence[int], updates: Sequence[Content]) -> None:
        self._form: Form = form
        self._w = w
        self._trained = trained
        self._updates = updates

    def merge(self, row: Sequence[float], missing: Missing) -> Vector:
        if self._form == "whole":
            return tuple(sum(map(mul, row, axis)) for axis in self._axes())
        return merged(row, self._w, self._by_unit(), missing)

    def losses(self, rows: Sequence[Vector], target: Vector, missing: Missing) -> Vector:
        """The loss of the merge by each row."""
        if self._form != "whole":
            by_unit = self._by_unit()
            return tuple(loss_of(merged(row, self._w, by_unit, missing), target) for row in rows)
        a, b, c, d = self._axes()
        to_a, to_b, to_c, to_d = target
        losses: list[float] = []
        # Written out axis by axis for speed: a world asks this eight times a round and peer.
        for row in rows:
            off_a, off_b = sum(map(mul, row, a)) - to_a, sum(map(mul, row, b)) - to_b
            off_c, off_d = sum(map(mul, row, c)) - to_c, sum(map(mul, row, d)) - to_d
            losses.append((off_a * off_a + off_b * off_b + off_c * off_c + off_d * off_d) / DIMENSION)
        return tuple(losses)

    def fit(self, row: Vector, target: Vector, *, steps: int, rate: float) -> tuple[Vector, Vector]:
        """A learned row and the loss before each step, by exponentiated gradient (Kivinen and Warmuth 1997), which
        keeps it a distribution."""
        axes, losses = self._axes(), list[float]()
        for _ in range(steps):
            off = [sum(map(mul, row, axis)) - t for axis, t in zip(axes, target, strict=True)]
            losses.append(_mean_square(off))
            slopes = [2 * sum(map(mul, off, vector)) / DIMENSION for vector in zip(*axes, strict=True)]
            lowest = min(slopes)
            grown = [
                weight * math.exp(-rate * (slope - lowest)) for weight, slope in zip(row, slopes, strict=True)
            ]
            whole = math.fsum(grown)
            if not whole > 0:
                # An update so large that the slopes leave the range of floats.
                break
            row = tuple(weight / whole for weight in grown)
        return row, tuple(losses)

    def apart(self) -> list[float]:
        """Mean absolute difference from each neighbour, over the numbers that it offers."""
        far: list[float] = []
        for theirs in self._held():
            both = [abs(v - w) for v, w in zip(theirs, self._w, strict=True) if v is not None]
            far.append(sum(both) / len(both))
        return far

    def sizes(self) -> list[float]:
        """The norm of each neighbour's vector over that of this peer's, over the numbers that it offers."""
        sizes: list[float] = []
        for theirs in self._held():
            both = [(v, w) for v, w in zip(theirs, self._w, strict=True) if v is not None]
            squares = [math.fsum(one * one for one in each) for each in zip(*both, strict=True)]
            sizes.append(
                math.sqrt(squares[0] / squares[1]) if squares[1] else math.inf if squares[0] else 0.0
            )
        return sizes

    def _axes(self) -> list[Vector]:
        """For each axis this peer's number and then the neighbours'; missing numbers are replaced by this peer's."""
        if self._form == "whole":
            return list(zip(self._w, *(whole_vector(one.data) for one in self._updates), strict=True))
        filled = [
            tuple(own if one is None else one for one, own in zip(theirs, self._w, strict=True))
            for theirs in self._held()
        ]
        return list(zip(self._w, *filled, strict=True))

    def _by_unit(self) -> list[Held]:
        """For each unit this peer's number, None if it did not train it, and then the neighbours'."""
        own: Held = tuple(w if n in self._trained else None for n, w in enumerate(self._w))
        return list(zip(own, *self._held(), strict=True))

    def _held(self) -> list[Held]:
        return [_held(update, self._form) for update in self._updates]


def loss_of(w: Sequence[float], target: Sequence[float]) -> float:
    return _mean_square([a - b for a, b in zip(w, target, strict=True)])


def _held(update: Content, form: Form) -> Held:
    return whole_vector(update.data) if form == "whole" else part_vector(update.data)


def _mean_square(values: Sequence[float]) -> float:
    return sum(map(mul, values, values)) / len(values)
