"""The simulated learner process: its answers take virtual time, and it can die over a question."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gossipllm.work import Merged, Request, Train, Trained
from peers.core.events import Event, LearnerAnswer, LearnerLost
from sim.world.agenda import Agenda
from sim.world.conditions import ComputeConfig
from sim.world.simulated_peer import SimulatedLearner, SimulatedPeer


class SimulatedLearning:
    """Asks the learners of one world. `tell` gives a peer an event."""

    def __init__(
        self,
        config: ComputeConfig,
        *,
        agenda: Agenda,
        tell: Callable[[SimulatedPeer, Event], object],
    ) -> None:
        self._config = config
        self._agenda = agenda
        self._tell = tell
        self._unnoticed: dict[int, SimulatedLearner] = {}
        """Peer -> its next learner, of which it does not know yet that the last one is lost."""

    def ask(self, node: SimulatedPeer, request: Request) -> None:
        config, learner = self._config, node.learner
        if self._unnoticed.get(node.index) is learner:
            return
        took = request.steps * config.step_s / node.speed if isinstance(request, Train) else config.answer_s
        self._agenda.after(took, self._answered, node, learner, learner.ask(request), took)

    def lose(self, node: SimulatedPeer, why: str, *, after_s: float) -> None:
        """End the learner's process: nothing that it was asked is answered. Its peer notices `after_s` later, and until
        then asks in vain."""
        learner = node.learner = self._unnoticed[node.index] = node.make_learner()
        self._agenda.after(after_s, self._noticed, node, learner, why)

    def _noticed(self, node: SimulatedPeer, learner: SimulatedLearner, why: str) -> None:
        if self._unnoticed.get(node.index) is learner:
            del self._unnoticed[node.index]
            if node.alive and node.learner is learner:
                self._tell(node, LearnerLost(why=why))

    def _answered(
        self,
        node: SimulatedPeer,
        learner: SimulatedLearner,
        answer: Callable[[], LearnerAnswer],
        took: float,
    ) -> None:
        node.costs.busy_s += took
        # A peer that starts, or whose learner died, has a new learner.
        if node.alive and node.learner is learner:
            event = answer()
            if isinstance(event, Trained | Merged):
                event = msgspec.structs.replace(event, seconds=took)
            self._tell(node, event)
