"""The learner of an attacker: an honest learner whose published updates are forged by a fault.

The core asks as it asks any learner. Only the answer to `Train` differs: the update and the predictions in it are the
forged ones, with digests of their own; the snapshot, from which the attacker itself trains on, stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gossipllm.model.adapter.names import State
from gossipllm.randomness import words
from gossipllm.work import Request, Train, Trained
from peers.core.events import LearnerAnswer
from sim.adversaries.fault import Artefact, Fault, Scene
from sim.adversaries.overheard import Overheard
from sim.adversaries.workshop import Workshop
from sim.world.fetching.question_queue import PooledLearner
from wire.digest import Content

if TYPE_CHECKING:
    from gossipllm.learning.learner import Learner


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """What outlives an attacker's process: which of the run's attackers it is, its fault, and what they all know."""

    number: int
    attackers: int
    seed: int
    fault: Fault
    overheard: Overheard


class AttackingLearner:
    """One life of an attacker's learner."""

    def __init__(
        self, attacker: Attacker, inner: PooledLearner[Any], learner: Learner, workshop: Workshop
    ) -> None:
        self._attacker = attacker
        self._inner = inner
        self._learner = learner
        self._workshop = workshop

    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        if not isinstance(request, Train):
            return self._inner.ask(request)
        start = self._learner.state
        answer = self._inner.ask(request)

        def forged() -> LearnerAnswer:
            trained = answer()
            return self._forged(trained, start) if isinstance(trained, Trained) else trained

        return forged

    def dismiss(self) -> None:
        """Forget its questions, because its peer crashed."""
        self._inner.dismiss()

    def _forged(self, trained: Trained, start: State) -> Trained:
        attacker, workshop = self._attacker, self._workshop
        known = {
            author: Artefact(state, one.evidence)
            for author, one in attacker.overheard.known().items()
            if (state := workshop.decoded(one.update)) is not None
        }
        drawn = words("gossipllm/attack/1", (attacker.seed, attacker.number, trained.round), 8)
        scene = Scene(
            round=trained.round,
            number=attacker.number,
            attackers=attacker.attackers,
            state=self._learner.state,
            start=start,
            known=known,
            workshop=workshop,
            random=np.random.default_rng(drawn),
        )
        forgery = attacker.fault.forged(scene)
        evidence = forgery.evidence
        if evidence is None and forgery.state is not scene.state:
            # Predictions that are not finite cannot be sent; those of the honest adapter stand in for them.
            evidence = workshop.predictions(forgery.state)
        forged = msgspec.structs.replace(
            trained,
            update=workshop.encoded(forgery.state, forgery.start, trained.offer),
            evidence=trained.evidence if evidence is None else Content.of(evidence),
        )
        return attacker.fault.claimed(forged)
