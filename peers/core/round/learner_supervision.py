"""Supervision of the learner: opened, checked against this home's state, lost, and opened again after a pause.

A learner that dies while a round's row is made counts against that round's merge. Only a round that ends well
resets the counts.
"""

from __future__ import annotations

import dataclasses

from gossipllm.work import Open, Opened
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Log, Stop, WakeAt
from peers.core.events import PeerId, Reopening
from peers.core.others.admission import mismatch
from peers.core.saved import Saved
from trust.record.history import Note, NoteLevel
from trust.rows.rows import alpha_of, evidence_of

MAX_PAUSE_S = 30.0
"""Longest pause before a learner that keeps dying is started again. The first pause is one second, each is twice the
last, and after a round that ends well the next is one second again."""
MERGE_TRIES = 2
"""Deaths of the learner over one round's merge before that round ends alone. Guess: one may be chance."""


class LearnerSupervision:
    """Counts the deaths of the learner, and those since this round was announced. Both counts begin at 0 with the
    process, and again when a round ends well."""

    def __init__(self, config: CoreConfig, me: PeerId) -> None:
        self._me = me
        self.learner = dataclasses.replace(
            config.learner,
            evidence=evidence_of(config.trust),
            tokens_alpha=alpha_of(config.trust, config.learner.training.reduction),
            judging=config.judging,
        )
        """The learner's configuration, with what the trust strategy and the guard need to be measured."""
        self._deaths = 0
        self._last_note = ""
        self.deaths_after_announcing = 0
        """Deaths since this round was announced: over its row or its merge, or while it gathered."""

    def open(self, request: int, saved: Saved | None) -> Open:
        snapshot = saved.snapshot if saved else None
        return Open(request=request, config=self.learner, snapshot=snapshot)

    def stop_on_mismatch(self, event: Opened, saved: Saved | None) -> Stop | None:
        """A stop where the opened learner has another base, tokenizer, reference set or layout than `saved`."""
        differs = mismatch(saved.fingerprints, event.fingerprints) if saved else None
        if differs is None:
            return None
        field, why = differs
        why = why.replace("theirs", "saved").replace("ours", "now")
        return Stop(code=2, why=f"the {field} is not the one this home began with: {why}")

    def lost(self, why: str, now: float, *, round_: int, announced: bool) -> list[Effect]:
        """Log the death, and set the timer for opening the learner again."""
        if announced:
            self.deaths_after_announcing += 1
        pause_s = MAX_PAUSE_S if self._deaths >= 5 else min(MAX_PAUSE_S, 2.0**self._deaths)
        self._deaths += 1
        text = f"the learner stopped ({why}); starting it again in {pause_s:.0f} s from round {round_}"
        return [note(self._me, "warning", text), WakeAt(at=now + pause_s, timer=Reopening())]

    def give_up_merging(self) -> None:
        """Let the next death, which the caller is about to report, be the last over this round's merge."""
        self.deaths_after_announcing = MERGE_TRIES - 1

    def ended_well(self) -> None:
        """A round ended well: reset the counts of deaths."""
        self._deaths = self.deaths_after_announcing = 0

    def noted(self, text: str) -> list[Effect]:
        """Log a note of the learner, unless it repeats its last one."""
        last, self._last_note = self._last_note, text
        return [note(self._me, "warning", text)] if text and text != last else []


def note(me: PeerId, level: NoteLevel, text: str) -> Log:
    return Log(record=Note(peer=me, level=level, text=text[:500]))
