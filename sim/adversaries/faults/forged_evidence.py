"""Forged evidence: predictions that no published adapter made, beside a poisoned one."""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.workshop import averaged


@dataclass(frozen=True)
class ForgedEvidence(Fault):
    """The predictions of the honest mean, which is near everybody, beside the opposite of that mean."""

    times: float = 1.0

    def forged(self, scene: Scene) -> Forgery:
        mean = averaged([one.state for one in scene.known.values()] or [scene.state])
        poisoned = scene.workshop.scaled(mean, -self.times)
        return Forgery(poisoned, scene.start, scene.workshop.predictions(mean))
