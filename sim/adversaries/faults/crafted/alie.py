"""ALIE, "a little is enough" (Baruch, Baruch and Goldberg 2019, arXiv 1902.06156): hides within the honest spread."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from sim.adversaries.fault import Fault, Forgery, Scene


@dataclass(frozen=True)
class Alie(Fault):
    """Publishes the honest mean minus z standard deviations, in every coordinate.

    z is the paper's: so large that the attackers and the honest peers beyond it are a majority. It is at least
    `least`, because with few attackers the formula gives no deviation at all.
    """

    least: float = 1.0

    def forged(self, scene: Scene) -> Forgery:
        states = [one.state for one in scene.known.values()]
        if len(states) < 2:
            return Forgery(scene.state, scene.start)
        honest = len(states)
        supporters = (honest + scene.attackers) // 2 + 1 - scene.attackers
        share = min(max((honest - supporters) / honest, 0.5), 0.999)
        z = max(self.least, NormalDist().inv_cdf(share))

        def within(name: str, value: np.ndarray) -> np.ndarray:
            del value
            stacked = np.stack([state[name] for state in states]).astype(np.float64)
            return stacked.mean(axis=0) - z * stacked.std(axis=0)

        return Forgery(scene.workshop.each(scene.state, within), scene.start)
