"""Adds peers with toy learners to a simulated world."""

from __future__ import annotations

from collections.abc import Sequence

from peers.core.config import CoreConfig
from peers.core.others.admission import Keys
from sim.toy.learner import ZERO, ToyLearner
from sim.toy.units import Form
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World


def add_toy(
    world: World,
    config: CoreConfig,
    target: Sequence[float],
    *,
    lean: Sequence[float] = ZERO,
    speed: float | None = None,
    base: str = "toy",
    form: Form = "whole",
    tokens: int = 1,
    busy: int | None = None,
    keys: Keys | None = None,
    group: str | None = None,
) -> SimulatedPeer:
    """Add a peer with a toy learner that aims at `target` plus `lean`, which its own text adds."""

    def learner() -> ToyLearner:
        return ToyLearner(target, lean=lean, base=base, form=form, tokens=tokens, busy=busy)

    return world.add(config, learner, speed=speed, keys=keys, group=group)
