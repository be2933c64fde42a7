"""Noise: publishes what was learned under Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene


@dataclass(frozen=True)
class Noise(Fault):
    """Noise of a standard deviation `times` the root mean square of each tensor."""

    times: float = 30.0

    def forged(self, scene: Scene) -> Forgery:
        return Forgery(scene.workshop.noisy(scene.state, self.times, scene.random), scene.start)
