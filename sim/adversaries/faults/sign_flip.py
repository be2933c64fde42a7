"""Sign flip: publishes the opposite of what was learned."""

from __future__ import annotations

from dataclasses import dataclass

from sim.adversaries.fault import Fault, Forgery, Scene


@dataclass(frozen=True)
class SignFlip(Fault):
    """Every product B A with the other sign, times `times`."""

    times: float = 1.0

    def forged(self, scene: Scene) -> Forgery:
        return Forgery(scene.workshop.scaled(scene.state, -self.times), scene.start)
