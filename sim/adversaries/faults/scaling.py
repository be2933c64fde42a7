"""Scaling: publishes what was learned, or what all have learned, too large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.workshop import averaged


@dataclass(frozen=True)
class FactorScaling(Fault):
    """Both factors A and B `times` as large, so that each lies within bounds of a factor and their product does not."""

    times: float = 90.0

    def forged(self, scene: Scene) -> Forgery:
        return Forgery(
            scene.workshop.each(scene.state, lambda _, value: value * np.float32(self.times)), scene.start
        )


@dataclass(frozen=True)
class ProductScaling(Fault):
    """The product B A `times` as large."""

    times: float = 90.0

    def forged(self, scene: Scene) -> Forgery:
        return Forgery(scene.workshop.scaled(scene.state, self.times), scene.start)


@dataclass(frozen=True)
class Overshoot(Fault):
    """Publishes `times` the honest mean, under noise of `noise` times its size so that no two attackers are copies.

    A small part of it helps more than the same part of any honest adapter, so each attacker gains most when it is tried
    by itself. In a row with all of them the merge goes past the minimum.
    """

    times: float = 4.0
    noise: float = 0.1

    def forged(self, scene: Scene) -> Forgery:
        states = [one.state for one in scene.known.values()] or [scene.state]
        far = scene.workshop.scaled(averaged(states), self.times)
        return Forgery(scene.workshop.noisy(far, self.noise, scene.random), scene.start)
