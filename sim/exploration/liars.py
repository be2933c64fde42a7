"""Liars: peers with an unchanged core whose learner lies about what it learned."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from gossipllm.work import Request, Trained
from peers.core.events import LearnerAnswer
from sim.toy.learner import ToyLearner
from sim.toy.units import Form, Vector, part_bytes, part_vector, whole_bytes, whole_vector
from wire.digest import Content

Lie: TypeAlias = Callable[[Vector, random.Random], Vector]
"""What is told instead of a vector."""

LIES: Final[Mapping[str, Lie]] = MappingProxyType(
    {
        "opposite": lambda w, _: tuple(-number for number in w),
        "large": lambda w, _: tuple(30 * number for number in w),
        "huge": lambda w, _: tuple(1e4 * number for number in w),
        "largest": lambda w, _: tuple(math.copysign(3e38, number) for number in w),
        "zero": lambda w, _: tuple(0.0 for _ in w),
        "noise": lambda w, rng: tuple(rng.gauss(0, 30) for _ in w),
    }
)
"""By name. All are finite, because a learner cannot encode other numbers; for those see the act "not-finite"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liar:
    """Peer `peer` lies in this share of its rounds, drawn by lot."""

    peer: int
    lie: str
    share: float
    claims: int
    """Tokens that it claims to have processed in each round; 0 for the true number."""
    seed: int


class LyingLearner:
    """Answers as the toy learner does, but for the update of a round in which it lies."""

    def __init__(self, inner: ToyLearner, liar: Liar, form: Form) -> None:
        self._inner = inner
        self._liar = liar
        self._form: Form = form
        self._rng = random.Random(liar.seed)

    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        answer = self._inner.ask(request)
        return lambda: self._told(answer())

    def _told(self, answer: LearnerAnswer) -> LearnerAnswer:
        if not isinstance(answer, Trained):
            return answer
        if self._liar.claims:
            answer = msgspec.structs.replace(answer, tokens=self._liar.claims, samples=self._liar.claims)
        if self._rng.random() >= self._liar.share:
            return answer
        lie = LIES[self._liar.lie]
        data = answer.update.data
        if self._form == "whole":
            told = whole_bytes(lie(whole_vector(data), self._rng))
        else:
            held = part_vector(data)
            units = [n for n, number in enumerate(held) if number is not None]
            numbers = lie(tuple(number or 0.0 for number in held), self._rng)
            told = part_bytes(numbers, units, answer.offer)
        return msgspec.structs.replace(answer, update=Content.of(told))
