"""The learner's lives: opened, found to be the one that this home began with, lost, and opened again after a pause.

A life that ends while a round's row is made counts against that round's merge; only a round that ends well
forgets how many lives were lost.
"""

from __future__ import annotations

import dataclasses

from gossipllm.work import Open, Opened
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Log, Stop, WakeAt
from peers.core.events import PeerId, Reopening
from peers.core.others.admission import Keys, mismatch
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.advancing import Advance
from peers.core.round.planning import Planner
from peers.core.saved import Saved
from peers.core.terms import Terms
from trust.record.history import Note, NoteLevel
from trust.rows.rows import alpha_of, evidence_of
from wire.messages import MAX_BLOB_BYTES

MAX_PAUSE_S = 30.0
"""Longest pause before a learner that keeps dying is started again. The first is one second, each is twice
the last, and a round that ends well begins anew."""
MERGE_TRIES = 2
"""Times that a round's merge may cost us the learner. Guess: once may be chance."""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenLearner:
    """What is known once the learner is open."""

    planner: Planner
    advance: Advance


class LearnerSupervision:
    """`ready` is None before the first one is open; `spoiled` counts those that this round's merge has cost."""

    def __init__(self, config: CoreConfig, keys: Keys, neighbourhood: Neighbourhood) -> None:
        self._config = config
        self._keys = keys
        self._others = neighbourhood
        self._learner = dataclasses.replace(
            config.learner,
            evidence=evidence_of(config.trust),
            tokens_alpha=alpha_of(config.trust, config.learner.training.reduction),
        )
        self._deaths = 0
        self._said = ""
        self.ready: OpenLearner | None = None
        self.spoiled = 0

    def open(self, request: int, saved: Saved | None) -> Open:
        snapshot = saved.snapshot if saved else None
        return Open(request=request, config=self._learner, snapshot=snapshot)

    def opened(self, event: Opened, saved: Saved | None) -> Stop | list[Effect]:
        """What the neighbours are told the first time; a stop where this learner cannot go on from `saved`."""
        if saved is not None:
            differs = mismatch(saved.fingerprints, event.fingerprints)
            if differs is not None:
                field, why = differs
                why = why.replace("theirs", "saved").replace("ours", "now")
                return Stop(code=2, why=f"the {field} is not the one this home began with: {why}")
        if self.ready is not None:
            return []
        terms = Terms.of(self._config.network, event)
        planner = Planner(self._keys.peer_id, terms, self._learner)
        # Of a window nothing is known yet, and it is far below.
        most = 0 if planner.by_window else max(terms.schema.size(terms.offer), terms.share_bytes)
        if most > MAX_BLOB_BYTES:
            why = f"what this peer would announce takes {most} bytes, and others refuse more than {MAX_BLOB_BYTES}"
            return Stop(code=2, why=f"{why}; train less of the model, with [adapter] or [layers]")
        self.ready = OpenLearner(planner, Advance(self._config, self._keys, self._others, planner))
        return self._others.open(terms)

    def lost(self, why: str, now: float, *, round_: int, over_merge: bool) -> list[Effect]:
        """Say so, and when it is to be opened again."""
        if over_merge:
            self.spoiled += 1
        pause_s = MAX_PAUSE_S if self._deaths >= 5 else min(MAX_PAUSE_S, 2.0**self._deaths)
        self._deaths += 1
        text = f"the learner stopped ({why}); starting it again in {pause_s:.0f} s from round {round_}"
        return [note(self._keys.peer_id, "warning", text), WakeAt(at=now + pause_s, timer=Reopening())]

    def ended_well(self) -> None:
        """A round did."""
        self._deaths = self.spoiled = 0

    def told(self, text: str) -> list[Effect]:
        """What the learner has to say to people, once until it says something else."""
        said, self._said = self._said, text
        return [note(self._keys.peer_id, "warning", text)] if text and text != said else []


def note(me: PeerId, level: NoteLevel, text: str) -> Log:
    return Log(record=Note(peer=me, level=level, text=text[:500]))
