"""Supervision of the learner: opened, checked against this home's state, lost, and opened again after a pause.

Only what may heal is worth another start. A learner that was killed by a signal, found no memory or was lost is
started again, `MAX_DEATHS` times at most. A crash, which is an end by an exception, would come again: it stops the peer
at the first opening of the learner, and where it happens twice in a row at the same step.

A learner that dies while a round's row is made counts against that round's merge: after `MERGE_TRIES` deaths the round
ends alone, so that no neighbour's update stops this peer. Only a round that ends well resets the counts.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

from gossipllm.device.plan.choice import Chosen
from gossipllm.work import Open, Opened
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Log, Stop, WakeAt
from peers.core.events import PeerId, Reopening
from peers.core.others.connected.relation import mismatch
from peers.core.saved import Saved
from trust.record.history import Note, NoteLevel
from trust.rows.rows import alpha_of, evidence_of

MAX_PAUSE_S = 30.0
"""Longest pause before a learner that keeps dying is started again. The first pause is one second, each is twice the
last, and after a round that ends well the next is one second again."""
MERGE_TRIES = 2
"""Deaths of the learner over one round's merge before that round ends alone. Guess: one may be chance."""
MAX_DEATHS: Final = 60
"""Deaths of the learner without a round that ended well, at which the peer stops: about half an hour of pauses. Guess:
memory that another program took is free again by then, or will not be."""
MAX_CRASHES: Final = 2
"""Crashes in a row at the same step of the same round at which the peer stops."""
STOPPED_BY_DEATHS: Final = 1
"""Exit code of a peer that stops after `MAX_DEATHS`: not a mistake of the user, so that a service manager may start it
again later. Crashes end it with 2."""

LearnerStep = Literal["first opening", "opening", "training", "merging"]
"""What the learner was doing when it died. "merging" is all that follows the announcement."""


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
        self._choosing = config.choosing
        self._deaths = 0
        self._crashed_at: tuple[LearnerStep, int, bool] | None = None
        self._crashes = 0
        self._last_note = ""
        self.deaths_after_announcing = 0
        """Deaths since this round was announced: over its row or its merge, or while it gathered."""

    def open(self, request: int, saved: Saved | None) -> Open:
        snapshot = saved.snapshot if saved else None
        text = saved.text if saved else None
        return Open(
            request=request, config=self.learner, snapshot=snapshot, text=text, choosing=self._choosing
        )

    def chose(self, chosen: Chosen) -> None:
        """Open the learner with these settings from now on."""
        self.learner = dataclasses.replace(self.learner, training=chosen.training(self.learner.training))
        self._choosing = None

    def stop_on_mismatch(self, event: Opened, saved: Saved | None) -> Stop | None:
        """A stop where the opened learner has another base, tokenizer, reference set or layout than `saved`."""
        differs = mismatch(saved.fingerprints, event.fingerprints) if saved else None
        if differs is None:
            return None
        field, why = differs
        why = why.replace("theirs", "saved").replace("ours", "now")
        return Stop(code=2, why=f"the {field} is not the one this home began with: {why}")

    def lost(
        self, why: str, now: float, *, round_: int, step: LearnerStep, crash: bool = False
    ) -> list[Effect]:
        """Log the death, and set the timer for opening the learner again; a stop where that would not help."""
        alone = self.deaths_after_announcing >= MERGE_TRIES
        if step == "merging":
            self.deaths_after_announcing += 1
        if crash and self._is_final(step, round_, alone=alone):
            return [Stop(code=2, why=f"the learner cannot go on: {why}")]
        if not crash:
            self._crashed_at = None
        if self._deaths + 1 >= MAX_DEATHS:
            text = f"the learner stopped {MAX_DEATHS} times without finishing a round, the last time: {why}"
            return [Stop(code=STOPPED_BY_DEATHS, why=text)]
        pause_s = MAX_PAUSE_S if self._deaths >= 5 else min(MAX_PAUSE_S, 2.0**self._deaths)
        self._deaths += 1
        text = f"the learner stopped ({why}); starting it again in {pause_s:.0f} s from round {round_}"
        return [note(self._me, "warning", text), WakeAt(at=now + pause_s, timer=Reopening())]

    def _is_final(self, step: LearnerStep, round_: int, *, alone: bool) -> bool:
        """Count a crash. With neighbours, merging has tries of its own, which end the round alone."""
        at = (step, round_, alone)
        self._crashes = self._crashes + 1 if at == self._crashed_at else 1
        self._crashed_at = at
        if step == "merging" and not alone:
            return False
        return step == "first opening" or self._crashes >= MAX_CRASHES

    def give_up_merging(self) -> None:
        """Let the next death, which the caller is about to report, be the last over this round's merge."""
        self.deaths_after_announcing = MERGE_TRIES - 1

    def ended_well(self) -> None:
        """A round ended well: reset the counts of deaths."""
        self._deaths = self.deaths_after_announcing = self._crashes = 0
        self._crashed_at = None

    def noted(self, text: str) -> list[Effect]:
        """Log a note of the learner, unless it repeats its last one."""
        last, self._last_note = self._last_note, text
        return [note(self._me, "warning", text)] if text and text != last else []


def note(me: PeerId, level: NoteLevel, text: str) -> Log:
    return Log(record=Note(peer=me, level=level, text=text[:500]))
