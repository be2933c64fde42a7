"""The peer: one state machine without I/O. `handle(event, now) -> effects`, and nothing else.

It has two halves. `Neighbourhood` knows the others, and checks what comes from them; `Rounds` trains, waits,
weighs and merges. This file routes events to the half that they concern, and lets the round look around
whenever something may have arrived.

`now` is seconds on a clock that never runs backwards while the process lives and that is near Unix time when
it starts (scores and bans outlive the process). No decision depends on another peer's clock. Equal events at
equal times give equal effects, so every run can be replayed from its log of events.
"""

from __future__ import annotations

from typing import assert_never

from gossipllm.work import Declined, Evaluated, Failed, Fitted, Merged, Opened, Trained, Weighed
from peers.core.config import CoreConfig
from peers.core.effects import Effect, WakeAt
from peers.core.events import (
    Comparing,
    Connected,
    Deadline,
    Disconnected,
    Event,
    Greeted,
    Heard,
    LearnerAnswer,
    LearnerLost,
    Misbehaved,
    NotPulled,
    NotStored,
    PeerId,
    Pulled,
    Reopening,
    Replied,
    SavingAgain,
    Started,
    Stored,
    Timer,
    Woke,
)
from peers.core.others.admission import Keys
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.rounds import Rounds
from peers.core.round.stages import Stage
from peers.core.saved import Saved


class Core:
    """One peer's decisions. `saved` is what was last stored, None for a peer that never ran."""

    def __init__(self, config: CoreConfig, keys: Keys, saved: Saved | None) -> None:
        self._config = config
        self._others = Neighbourhood(config, keys)
        self._rounds = Rounds(config, keys, self._others, saved)
        if saved is not None:
            self._others.scores.restore(
                (one.peer, one.score, one.at_s, one.banned_until_s) for one in saved.standings
            )

    @property
    def round(self) -> int:
        return self._rounds.round

    @property
    def stage(self) -> Stage:
        return self._rounds.stage

    def welcome(self, peer: PeerId, now: float) -> bool:
        """Whether a connection with this peer may stand."""
        return not self._others.scores.unwelcome(peer, now)

    def blob(self, digest: bytes) -> bytes | None:
        """A blob that anyone may have: our last announcement's, or a neighbour's that we hold."""
        content = self._rounds.own_blob(digest) or self._others.inbox.blob(digest)
        return content.data if content else None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What to do about it, in order. A late or repeated event is normal and gives nothing."""
        match event:
            case Started():
                effects = [*self._rounds.open(), self._compare_later(now)]
            case Woke():
                effects = self._on_woke(event.timer, now)
            case Stored():
                effects = self._rounds.stored(event.generation, now)
            case NotStored():
                effects = self._rounds.not_stored(event.generation, event.why, now)
            case (
                Heard()
                | Greeted()
                | Replied()
                | Connected()
                | Disconnected()
                | Pulled()
                | NotPulled()
                | Misbehaved()
            ):
                effects = [*self._on_others(event, now), *self._rounds.look(now)]
            case _:
                effects = self._on_learner(event, now)
        return effects

    def _on_learner(self, event: LearnerAnswer | LearnerLost, now: float) -> list[Effect]:
        match event:
            case Opened():
                effects = self._rounds.opened(event, now)
            case Trained():
                effects = self._rounds.trained(event, now)
            case Weighed():
                effects = self._rounds.weighed(event, now)
            case Declined():
                effects = self._rounds.declined(event, now)
            case Evaluated():
                effects = self._rounds.evaluated(event)
            case Fitted():
                effects = self._rounds.fitted(event)
            case Merged():
                effects = self._rounds.merged(event, now)
            case Failed():
                effects = self._rounds.failed(event, now)
            case LearnerLost():
                effects = self._rounds.lost(event.why, now)
            case _:
                assert_never(event)
        return effects

    def _on_others(
        self,
        event: Heard | Greeted | Replied | Connected | Disconnected | Pulled | NotPulled | Misbehaved,
        now: float,
    ) -> list[Effect]:
        effects: list[Effect] = []
        match event:
            case Heard():
                effects = self._others.heard(event.frame, event.via, now)
            case Greeted():
                effects = self._others.greeted(event.greeting, event.via, now)
            case Replied():
                effects = self._others.replied(event.reply, event.via, now)
            case Connected():
                effects = self._others.connect(event.peer, now)
            case Disconnected():
                self._others.disconnect(event.peer)
            case Pulled():
                effects = self._others.pulled(event.request, event.content, now)
            case NotPulled():
                effects = self._others.not_pulled(event.request, event.why, now)
            case Misbehaved():
                effects = self._others.fine(event.peer, event.field, event.why, event.fine, now)
            case _:
                assert_never(event)
        return effects

    def _on_woke(self, timer: Timer, now: float) -> list[Effect]:
        match timer:
            case Deadline():
                return self._rounds.deadline(timer.round, now)
            case Reopening():
                return self._rounds.reopen()
            case SavingAgain():
                return self._rounds.save_again(timer.generation)
            case Comparing():
                return [*self._others.compare(), *self._others.fetch_missing(), self._compare_later(now)]
        assert_never(timer)

    def _compare_later(self, now: float) -> WakeAt:
        return WakeAt(at=now + self._config.round.compare_every_s, timer=Comparing())
