"""A fault: what an attacker publishes instead of the adapter that it trained.

An attacker is a real core with a real learner. It trains, measures and merges as honest peers do, on text of its own.
Only what it publishes is forged. `attacking_learner.py` encodes, digests and hands it to the core, which signs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Splits
from gossipllm.work import Trained
from sim.adversaries.workshop import Workshop
from wire.digest import Content


@dataclass(frozen=True, slots=True, eq=False)
class Artefact:
    """What an honest peer made public last: its adapter, and its predictions, None where none were fetched."""

    state: State
    evidence: Content | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scene:
    """What an attacker knows when it has trained round `round` and is about to publish.

    `number` counts the attackers of a run from 0 to `attackers` - 1. `state` is its own adapter, trained honestly,
    and `start` the adapter before these local steps. `known` holds what honest peers made public, as far as any of
    the attackers was sent it: they share what they know. `random` differs between attackers and rounds.
    """

    round: int
    number: int
    attackers: int
    state: State
    start: State
    known: Mapping[str, Artefact]
    workshop: Workshop
    random: np.random.Generator

    @property
    def victim(self) -> Artefact | None:
        """The honest peer that this attacker goes for: the same in every round, another for each attacker."""
        names = sorted(self.known)
        return self.known[names[self.number % len(names)]] if names else None

    def predictions_of(self, one: Artefact) -> bytes | None:
        """The predictions that a peer sent, else those that its adapter, as it was sent, makes."""
        return self.workshop.predictions(one.state) if one.evidence is None else one.evidence.data


@dataclass(frozen=True, slots=True, eq=False)
class Forgery:
    """What is published: an adapter, the adapter before its local steps (which travels where updates are mixed), and
    predictions, by default those of the adapter itself."""

    state: State
    start: State
    evidence: bytes | None = None


class Fault:
    """One attacker's fault. The base class publishes what was trained; a fault overrides one of the methods."""

    def text(self, splits: Splits, *, vocabulary: int) -> Splits:
        """The text that the attacker trains on."""
        del vocabulary
        return splits

    def forged(self, scene: Scene) -> Forgery:
        return Forgery(scene.state, scene.start)

    def is_hostile(self, round_: int) -> bool:
        """Whether what is published in this round may be anything else than what was trained."""
        del round_
        return True

    def claimed(self, trained: Trained) -> Trained:
        """What it says about its work, beside the forged update."""
        return trained
