"""Bait: a poisoned adapter beside the victim's own predictions, which make it look like the victim's twin."""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene


@dataclass(frozen=True)
class Bait(Fault):
    """The opposite of what was learned, times `times`."""

    times: float = 1.0

    def forged(self, scene: Scene) -> Forgery:
        poisoned = scene.workshop.scaled(scene.state, -self.times)
        victim = scene.victim
        return Forgery(poisoned, scene.start, None if victim is None else scene.predictions_of(victim))
