"""Attackers that are honest at times: until they are trusted, in turns, or less and less."""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.faults.crafted.dissensus import Dissensus


@dataclass(frozen=True)
class BaitAndSwitch(Fault):
    """Honest for `honest` rounds, and from then on the opposite of what was learned, times `times`."""

    honest: int = 3
    times: float = 1.0

    def is_hostile(self, round_: int) -> bool:
        return round_ >= self.honest

    def forged(self, scene: Scene) -> Forgery:
        if not self.is_hostile(scene.round):
            return Forgery(scene.state, scene.start)
        return Forgery(scene.workshop.scaled(scene.state, -self.times), scene.start)


@dataclass(frozen=True)
class Alternation(Fault):
    """Honest and hostile by turns of `turn` rounds, honest first: trust is earned back in between."""

    turn: int = 1
    times: float = 1.0

    def is_hostile(self, round_: int) -> bool:
        return round_ // self.turn % 2 == 1

    def forged(self, scene: Scene) -> Forgery:
        if not self.is_hostile(scene.round):
            return Forgery(scene.state, scene.start)
        return Forgery(scene.workshop.scaled(scene.state, -self.times), scene.start)


@dataclass(frozen=True)
class Relay(Fault):
    """In each round every `turns`-th attacker pushes its victim away from the others, and the rest are honest: together
    they attack in every round, and each earns trust back in between."""

    turns: int = 3
    strength: float = 1.5

    def forged(self, scene: Scene) -> Forgery:
        if scene.round % self.turns != scene.number % self.turns:
            return Forgery(scene.state, scene.start)
        return Dissensus(self.strength).forged(scene)


@dataclass(frozen=True)
class SlowDrift(Fault):
    """Each round the product loses `step` of what was learned, so that no round differs much from the last: honest in
    the first round, nothing after 1 / step rounds, the opposite later."""

    step: float = 0.25

    def is_hostile(self, round_: int) -> bool:
        return round_ > 0

    def forged(self, scene: Scene) -> Forgery:
        return Forgery(scene.workshop.scaled(scene.state, 1 - self.step * scene.round), scene.start)
