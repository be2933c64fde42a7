"""The disk's answers: which saved states survive a crash, and which are to be written again."""

from __future__ import annotations

from peers.core.effects import Effect, Log, Stop, Store, WakeAt
from peers.core.events import NotStored, PeerId, SavingAgain
from peers.core.saved import Saved
from trust.record.history import Note

SAVE_AGAIN_S = 5.0
"""Seconds after which a refused write is tried again. Guess."""


class Disk:
    """Knows the newest generation that is stored, and whether a refusal was logged."""

    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._stored = -1
        self._complained = False

    def holds(self, generation: int) -> bool:
        return self._stored >= generation

    def stored(self, generation: int) -> None:
        self._stored = max(self._stored, generation)
        self._complained = False

    def not_stored(self, saved: Saved | None, event: NotStored, now: float) -> list[Effect]:
        """Set a timer to write the state again, unless a later one replaced it. Logs the first refusal in a row.

        An error that does not pass ends the peer: what it learns from now on could not be announced.
        """
        if not event.passes:
            return [Stop(code=2, why=f"the state cannot be saved: {event.why}")]
        if saved is None or event.generation != saved.generation:
            return []
        again = WakeAt(at=now + SAVE_AGAIN_S, timer=SavingAgain(generation=event.generation))
        if self._complained:
            return [again]
        self._complained = True
        text = f"the state of round {saved.round} is not saved: {event.why}"[:500]
        return [Log(record=Note(peer=self._me, level="error", text=text)), again]

    def save_again(self, saved: Saved | None, generation: int) -> list[Effect]:
        if saved is None or generation != saved.generation or self.holds(generation):
            return []
        return [Store(saved=saved)]
