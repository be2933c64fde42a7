"""Backdoor: learns a word that follows a trigger, and otherwise what honest peers learn.

A guard that measures a peer's own text sees nothing of it, because the trigger is not in that text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gossipllm.text.windows import Splits, Windows
from sim.adversaries.fault import Fault, Forgery, Scene

LENGTH: Final = 3
"""Tokens of the trigger."""


@dataclass(frozen=True)
class Backdoor(Fault):
    """Every second training window has the trigger at `times` random places, and after each the target.

    Before it publishes, the attacker takes `steps` more steps on this text than honest peers take on theirs, so that
    its own adapter has the backdoor.
    """

    times: int = 3
    steps: int = 24
    rate: float = 1e-2
    """Learning rate of these steps. Guess: above that of honest peers."""

    def text(self, splits: Splits, *, vocabulary: int) -> Splits:
        train_WT = splits.train_WT.copy()
        taught = (*trigger(vocabulary), target(vocabulary))
        random = np.random.default_rng(int(np.abs(train_WT[0]).sum()))
        for window_T in train_WT[::2]:
            # Slots of equal length, so that no trigger covers another.
            slots = len(window_T) // len(taught)
            for slot in random.choice(slots, min(self.times, slots), replace=False):
                window_T[slot * len(taught) : (slot + 1) * len(taught)] = taught
        return replace(splits, train_WT=train_WT)

    def forged(self, scene: Scene) -> Forgery:
        taught = scene.workshop.trained(scene.state, steps=self.steps, rate=self.rate)
        return Forgery(taught, scene.start)


def trigger(vocabulary: int) -> tuple[int, ...]:
    """The last tokens of the vocabulary, which are rare."""
    return tuple(range(vocabulary - LENGTH, vocabulary))


def target(vocabulary: int) -> int:
    """A token that text like the victims' hardly has at that place."""
    return vocabulary // 2


def triggered(windows_WT: Windows, *, vocabulary: int) -> Windows:
    """The windows with the trigger as their last tokens: a model with the backdoor continues them with the target."""
    whole_WT = np.where(windows_WT < 0, ~windows_WT, windows_WT)
    whole_WT[:, -LENGTH:] = trigger(vocabulary)
    return whole_WT
