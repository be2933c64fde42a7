"""IPM, inner product manipulation (Xie, Koyejo and Gupta 2019, arXiv 1903.03936)."""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.workshop import averaged


@dataclass(frozen=True)
class InnerProductManipulation(Fault):
    """Publishes minus `strength` times the honest mean: a small strength hides, a large one overturns an average."""

    strength: float = 0.1

    def forged(self, scene: Scene) -> Forgery:
        states = [one.state for one in scene.known.values()] or [scene.state]
        return Forgery(scene.workshop.scaled(averaged(states), -self.strength), scene.start)
