"""Dissensus: pushes an honest peer away from the others (He, Karimireddy and Jaggi 2022, arXiv 2202.01545).

There each attacker sends every neighbour another vector. Here an update is one for all, so each attacker chooses one
victim.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.workshop import averaged


@dataclass(frozen=True)
class Dissensus(Fault):
    """Publishes the victim's adapter, moved by `strength` times its distance from the honest mean, away from it."""

    strength: float = 1.5

    def forged(self, scene: Scene) -> Forgery:
        victim = scene.victim
        if victim is None:
            return Forgery(scene.state, scene.start)
        mean = averaged([one.state for one in scene.known.values()])
        apart = scene.workshop.each(
            victim.state, lambda name, value: value + self.strength * (value - mean[name])
        )
        return Forgery(apart, scene.start)
