"""Scaling: publishes what was learned, far too large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene


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
