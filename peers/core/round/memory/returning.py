"""Returning: when this peer goes back to its last good state, and what the first steps alone then show.

`peers.core.course` has the arithmetic. Who had a weight in the last row before the return is suspected, and loses
standing only where steps alone do better (`Course.blames`).
"""

from __future__ import annotations

from collections.abc import Mapping

from peers.core.config import CoreConfig
from peers.core.course import Course
from peers.core.effects import Log
from peers.core.events import PeerId
from peers.core.others.standing.seats import Seats
from peers.core.round.learner_supervision import note


class Returning:
    """Reads the saved course. The suspects are forgotten in a restart."""

    def __init__(self, config: CoreConfig, me: PeerId, seats: Seats) -> None:
        self._me = me
        self._seats = seats
        self._patience = config.defence.patience
        learns = config.learner.rows and (config.merges or config.distils)
        self._remembers = config.round.guard and self._patience > 0 and learns
        self._suspects: tuple[PeerId, ...] = ()

    def pauses(self, course: Course) -> bool:
        """Whether this peer trains alone in this round, because it went back a while ago."""
        return self._remembers and course.waits > 0

    def due(self, course: Course) -> bool:
        """Whether this round ends with the last good state."""
        return self._remembers and course.behind >= self._patience

    def begun(self, course: Course, weights: Mapping[PeerId, float]) -> list[Log]:
        """Tell of going back, and suspect those who have a weight in the last row."""
        self._suspects = tuple(peer for peer, weight in weights.items() if weight > 0)
        assert course.alone is not None, "who went back was behind an estimate"
        assert course.best is not None, "and had a good state"
        text = (
            f"for {course.behind} rounds the trust loss was above {course.alone:.3f}, what training alone would have "
            f"reached: back to the last good state ({course.best:.3f}), and alone for a while, to see what did it"
        )
        return [note(self._me, "warning", text)]

    def judged(self, course: Course, loss: float) -> list[Log]:
        """After local steps that ended in `loss`: the first ones since going back lower the standing of the suspects,
        if merging was to blame."""
        if not course.judging:
            return []
        suspects, self._suspects = self._suspects, ()
        if not course.blames(loss):
            text = "training alone raises the trust loss as well: its own text is learned, and no merge was to blame"
            return [note(self._me, "info", text)]
        for peer in suspects:
            self._seats.harmed(peer)
        return [note(self._me, "warning", "training alone does better: the last merges did harm")]
