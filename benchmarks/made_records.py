"""Synthetic records for benchmarks: random numbers from a seed, with the sizes and shapes of real histories."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from trust.record.history import Begun, Entry, Guard, Record, Round, Seen, Traffic

_KINDS = 5
"""Peers whose numbers are equal modulo this take more from each other, so that the matrix has a structure."""

_MOVED = {"announce": 2_000, "blob": 400_000, "known": 300, "wire": 450_000}
"""Bytes of traffic per round in each direction, by kind."""


class MadePeers:
    """Makes records of `count` peers, numbered from 0. The same calls in the same order make the same records.

    A row has all other peers, or `neighbours` of them drawn in each round; the guard's outcome is drawn from `guards`.
    With `lean`, `Seen` has only the fields that every strategy and every version of the format writes.
    """

    def __init__(
        self,
        count: int,
        *,
        neighbours: int | None = None,
        guards: Sequence[Guard] = ("taken",),
        lean: bool = False,
        seed: int = 0,
    ) -> None:
        self.rng = random.Random(seed)
        self.ids = tuple(f"12D3KooW{self.rng.randrange(10**44):044}" for _ in range(count))
        self._neighbours = count - 1 if neighbours is None else min(neighbours, count - 1)
        self._guards = guards
        self._lean = lean

    def name(self, peer: int) -> str:
        return f"peer-{peer}"

    def begun(self, peer: int) -> Begun:
        return Begun(
            peer=self.ids[peer],
            name=self.name(peer),
            round=0,
            base="00" * 32,
            tokenizer="11" * 32,
            reference="22" * 32,
            layout="33" * 32,
            strategy="predictions",
            merge="svd",
            test_loss=7.0,
            program="0",
        )

    def round(self, peer: int, number: int) -> Round:
        """The record of round `number`, from 1. Losses fall with `number`, and every merge lowers them by up to 0.1."""
        others = [other for other in range(len(self.ids)) if other != peer]
        if self._neighbours < len(others):
            others = self.rng.sample(others, self._neighbours)
        likes = [4.0 if other % _KINDS == peer % _KINDS else self.rng.random() for other in others]
        whole = 1 + sum(likes)
        alone = 2 + 3 / number + 0.1 * self.rng.random()
        merged = alone - 0.1 * self.rng.random()
        return Round(
            peer=self.ids[peer],
            round=number,
            self_weight=1 / whole,
            seen=tuple(
                self._seen(other, number, like / whole) for other, like in zip(others, likes, strict=True)
            ),
            train_loss=alone - 0.2 * self.rng.random(),
            trust_alone=alone,
            trust_merged=merged,
            test_alone=alone + 0.1 * self.rng.random(),
            test_merged=merged + 0.1 * self.rng.random(),
            temperature=0.5,
            tried=((0.5, merged), (None, alone)),
            guard=self.rng.choice(self._guards),
            tokens=10_240,
            samples=160,
            steps=20,
            train_s=self.rng.uniform(1, 30),
            gather_s=self.rng.random(),
            merge_s=self.rng.random(),
            discarded=0.1 * self.rng.random(),
            tokens_total=10_240 * number,
            samples_total=160 * number,
        )

    def entry(self, record: Record, *, at_s: float, rounds: int) -> Entry:
        """The entry of `record` in a history, with the traffic of `rounds` rounds."""
        moved = {kind: size * rounds for kind, size in _MOVED.items()}
        return Entry(at_s=at_s, traffic=Traffic(sent=moved, received=moved), record=record)

    def _seen(self, other: int, number: int, weight: float) -> Seen:
        seen = Seen(
            peer=self.ids[other],
            name=self.name(other),
            its_round=number,
            age=self.rng.randrange(3),
            distance=2 * self.rng.random(),
            error=0.1 * self.rng.random(),
            weight=weight,
            tokens=10_240,
        )
        if self._lean:
            return seen
        return msgspec.structs.replace(
            seen,
            rank=8,
            errors=(self.rng.random(),),
            own=(self.rng.random(),),
            samples=160,
            tokens_total=10_240 * number,
            samples_total=160 * number,
        )
