"""Copies: publishes what another peer made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene


class UpdateCopy(Fault):
    """Publishes the victim's adapter with the victim's predictions, both unchanged."""

    def forged(self, scene: Scene) -> Forgery:
        victim = scene.victim
        if victim is None:
            return Forgery(scene.state, scene.start)
        return Forgery(victim.state, scene.start, scene.predictions_of(victim))


class EvidenceCopy(Fault):
    """Publishes an adapter of zeros with the victim's predictions: trust without any work."""

    def forged(self, scene: Scene) -> Forgery:
        zeros = scene.workshop.each(scene.state, lambda _, value: np.zeros_like(value))
        victim = scene.victim
        return Forgery(zeros, scene.start, None if victim is None else scene.predictions_of(victim))


@dataclass(frozen=True)
class DisguisedCopy(Fault):
    """Publishes the victim's adapter under noise of `noise` times the size of each tensor, so that it is nobody's twin.
    It gives what the victim gives, less the noise, and did no work for it."""

    noise: float = 0.5

    def forged(self, scene: Scene) -> Forgery:
        victim = scene.victim
        if victim is None:
            return Forgery(scene.state, scene.start)
        return Forgery(scene.workshop.noisy(victim.state, self.noise, scene.random), scene.start)
