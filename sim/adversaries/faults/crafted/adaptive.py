"""An adaptive attacker: knows rows, gates and guard, and crafts what passes them.

After AugMP (Cai et al. 2026, arXiv 2605.07961), which optimises an update for harm under the constraint that its
statistics stay those of honest updates. Here the constraint is the defence itself, as far as an attacker can simulate
it: distances of factors and of predictions, the norm of products, and the loss on text like the victims'. The harmful
direction is up the gradient of the loss on the attacker's own text. From the honest mean it goes as far as no filter
sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossipllm.model.adapter.names import State
from sim.adversaries.fault import Fault, Forgery, Scene
from sim.adversaries.workshop import Workshop, averaged, distance, length_of, predicted_distance


@dataclass(frozen=True)
class Adaptive(Fault):
    ascents: int = 4
    """Steps up the gradient that make the direction."""

    tries: int = 6
    """Bisections for the largest length of it that passes. Each costs a pass for the loss and one for predictions."""

    def forged(self, scene: Scene) -> Forgery:
        honest = [one.state for one in scene.known.values()]
        if len(honest) < 2:
            return Forgery(scene.state, scene.start)
        filters = _Filters(scene.workshop, honest)
        direction = self._direction(scene.workshop, filters.mean, filters.apart)
        low, high = 0.0, 1.0
        for _ in range(self.tries):
            middle = (low + high) / 2
            if filters.passes(_moved(filters.mean, direction, middle)):
                low = middle
            else:
                high = middle
        return Forgery(_moved(filters.mean, direction, low), scene.start)

    def _direction(self, workshop: Workshop, mean: State, length: float) -> State:
        """Up the gradient of the loss, in normalised steps, as long as the honest peers lie apart."""
        state = mean
        for _ in range(self.ascents):
            slope = workshop.slope(state)
            size = length_of(slope)
            if not size > 0:
                break
            state = _moved(state, slope, length / self.ascents / size)
        return {name: state[name] - mean[name] for name in mean}


class _Filters:
    """Bounds on a forgery: the largest values among honest peers."""

    def __init__(self, workshop: Workshop, honest: Sequence[State]) -> None:
        self._workshop = workshop
        self.mean = averaged(honest)
        self._predicted = workshop.predicted(self.mean)
        self._norm = max(map(workshop.size, honest))
        self.apart = max(distance(self.mean, state) for state in honest)
        self._predictions = max(map(self._predicted_apart, honest))
        self._loss = max(workshop.losses(honest))

    def passes(self, state: State) -> bool:
        return (
            self._workshop.size(state) <= self._norm
            and distance(self.mean, state) <= self.apart
            and self._workshop.losses([state])[0] <= self._loss
            and self._predicted_apart(state) <= self._predictions
        )

    def _predicted_apart(self, state: State) -> float:
        return predicted_distance(self._predicted, self._workshop.predicted(state))


def _moved(state: State, direction: State, length: float) -> State:
    """The state moved along a direction, which may lack tensors that are frozen."""
    return {
        name: (value + length * direction[name]).astype(np.float32) if name in direction else value
        for name, value in state.items()
    }
