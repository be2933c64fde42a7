"""Free riders: take part, and give nothing."""

from __future__ import annotations

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene
from wire.floats import F32


class ZeroFreeRider(Fault):
    """Publishes an adapter of zeros."""

    def forged(self, scene: Scene) -> Forgery:
        zeros = scene.workshop.each(scene.state, lambda _, value: np.zeros_like(value))
        return Forgery(zeros, scene.start)


class UntouchedFreeRider(Fault):
    """Publishes the start that all peers know."""

    def forged(self, scene: Scene) -> Forgery:
        untouched = scene.workshop.untouched()
        return Forgery(untouched, untouched)


class NoiseFreeRider(Fault):
    """Publishes noise of the size of an honest adapter."""

    def forged(self, scene: Scene) -> Forgery:
        def drawn(_: str, value: F32) -> F32:
            size = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
            return scene.random.normal(0.0, size, value.shape).astype(np.float32)

        return Forgery(scene.workshop.each(scene.state, drawn), scene.start)


class StaleFreeRider(Fault):
    """Publishes its adapter of the first round in every round."""

    def __init__(self) -> None:
        self._first: Forgery | None = None

    def forged(self, scene: Scene) -> Forgery:
        self._first = self._first or Forgery(scene.state, scene.start)
        return self._first
