"""Noise: publishes what was learned under Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene
from wire.floats import F32


@dataclass(frozen=True)
class Noise(Fault):
    """Noise of a standard deviation `times` the root mean square of each tensor."""

    times: float = 30.0

    def forged(self, scene: Scene) -> Forgery:
        def noisy(_: str, value: F32) -> F32:
            size = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
            return value + scene.random.normal(0.0, self.times * size, value.shape).astype(np.float32)

        return Forgery(scene.workshop.each(scene.state, noisy), scene.start)
