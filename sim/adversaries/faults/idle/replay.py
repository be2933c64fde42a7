"""Replay: publishes what an honest peer published first, as news of its own."""

from __future__ import annotations

from sim.adversaries.fault import Artefact, Fault, Forgery, Scene


class Replay(Fault):
    """The victim's first adapter and predictions, in every round.

    Frames that are sent again as they were are old news and change nothing; `tests/sim/world/test_adversaries.py` has
    that case.
    """

    def __init__(self) -> None:
        self._first: Artefact | None = None

    def forged(self, scene: Scene) -> Forgery:
        self._first = self._first or scene.victim
        if self._first is None:
            return Forgery(scene.state, scene.start)
        return Forgery(self._first.state, scene.start, scene.predictions_of(self._first))
