"""What a peer's user is told to expect of the network, once, when its rounds are done or it has settled."""

from __future__ import annotations

from peers.core.events import PeerId
from trust.expectation import Expectation
from trust.record.history import Note, Record, Round


class Expecting:
    """Listens to the records of one run. `rounds` is the number of rounds after which the peer only serves, 0 for no
    end."""

    def __init__(self, me: PeerId, *, rounds: int) -> None:
        self._me = me
        self._rounds = rounds
        self._expectation = Expectation()
        self._told = False

    def after(self, record: Record) -> Note | None:
        """The note that follows this record; None for none."""
        self._expectation = self._expectation.after(record)
        if self._told or not isinstance(record, Round):
            return None
        ends = record.settled or 0 < self._rounds <= record.round + 1
        if not ends or not self._expectation.sentence:
            return None
        self._told = True
        return Note(peer=self._me, level="info", text=self._expectation.sentence)
