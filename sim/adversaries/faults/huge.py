"""Finite and huge: numbers near the largest that the codec carries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene


@dataclass(frozen=True)
class FiniteHuge(Fault):
    """All numbers of the adapter are `size`, with random signs."""

    size: float = 3e38

    def forged(self, scene: Scene) -> Forgery:
        def huge(_: str, value: np.ndarray) -> np.ndarray:
            return np.where(scene.random.random(value.shape) < 0.5, -self.size, self.size)

        return Forgery(scene.workshop.each(scene.state, huge), scene.start)
