"""A peer whose learner has been open: events go to the half of the core that they concern.

`Neighbourhood` knows the other peers and checks what comes from them; `Rounds` trains, gathers, chooses and merges.
After every event from outside the round looks at the neighbourhood again, because something to merge may have come.
"""

from __future__ import annotations

from typing import assert_never

from gossipllm.work import (
    Confirmed,
    Declined,
    Evaluated,
    Failed,
    Fitted,
    Merged,
    Opened,
    Trained,
    Weighed,
)
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Stop, WakeAt
from peers.core.events import (
    Blocked,
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
    Showed,
    Started,
    Stored,
    TextChanged,
    Timer,
    Woke,
)
from peers.core.others.blobs.showing import Showing
from peers.core.others.copies import met_itself
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.rounds import Rounds
from peers.core.round.stages import Stage
from wire.digest import Content


class Running:
    def __init__(self, config: CoreConfig, neighbourhood: Neighbourhood, rounds: Rounds) -> None:
        self._config = config
        self._others = neighbourhood
        self._rounds = rounds

    @property
    def round(self) -> int:
        return self._rounds.round

    @property
    def stage(self) -> Stage:
        return self._rounds.stage

    def blob(self, digest: bytes) -> Content | None:
        """A blob of this peer's last announcement, or a neighbour's blob that is held here."""
        return self._rounds.own_blob(digest) or self._others.inbox.blob(digest)

    def expects(self, digest: bytes, asker: PeerId) -> bool:
        """Whether this peer is about to hold a blob that `asker` can get nowhere nearer."""
        return self._others.expects(digest, asker)

    @property
    def showing(self) -> Showing:
        """Whom this peer shows which of its blobs."""
        return self._others.fetching.showing

    def handle(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Started():
                # A process starts once, before the learner is open.
                return []
            case Woke():
                return self._on_woke(event.timer, now)
            case Showed():
                self._others.fetching.showing.note(event.digest, event.peer)
                return []
            case Stored():
                return self._rounds.stored(event.generation, now)
            case NotStored():
                return self._rounds.not_stored(event, now)
            case TextChanged():
                return self._rounds.text_changed()
            case (
                Heard()
                | Greeted()
                | Replied()
                | Connected()
                | Disconnected()
                | Pulled()
                | NotPulled()
                | Misbehaved()
                | Blocked()
            ):
                return [*self._on_others(event, now), *self._rounds.look(now)]
            case _:
                return self._on_learner(event, now)

    def _on_learner(self, event: LearnerAnswer | LearnerLost, now: float) -> list[Effect]:
        match event:
            case Opened():
                return self._rounds.opened(event, now)
            case Trained():
                return self._rounds.trained(event, now)
            case Weighed():
                return self._rounds.weighed(event, now)
            case Declined():
                return self._rounds.declined(event, now)
            case Confirmed():
                return self._rounds.confirmed(event, now)
            case Evaluated():
                return self._rounds.evaluated(event, now)
            case Fitted():
                return self._rounds.fitted(event, now)
            case Merged():
                return self._rounds.merged(event, now)
            case Failed():
                return self._rounds.failed(event, now)
            case LearnerLost():
                return self._rounds.lost(event.why, now, crash=event.crash)
        assert_never(event)

    def _on_others(
        self,
        event: Heard
        | Greeted
        | Replied
        | Connected
        | Disconnected
        | Pulled
        | NotPulled
        | Misbehaved
        | Blocked,
        now: float,
    ) -> list[Effect]:
        match event:
            case Heard():
                return self._others.heard(event.frame, event.via, now)
            case Greeted():
                return self._others.greeted(event.greeting, event.via, now)
            case Replied():
                return self._others.replied(event.reply, event.via, now)
            case Connected():
                return self._others.connect(event.peer, now, group=event.group)
            case Disconnected():
                self._others.disconnect(event.peer)
                return []
            case Pulled():
                return self._others.fetching.pulled(event.request, event.content, now)
            case NotPulled():
                return self._others.fetching.not_pulled(event.request, event.why, later=event.later, now=now)
            case Misbehaved():
                if event.peer == self._others.me:
                    return [Stop(code=2, why=met_itself(event.why))]
                return self._others.fine_sender(event.peer, event.field, event.why, event.fine, now)
            case Blocked():
                return self._others.block(event.peers)
        assert_never(event)

    def _on_woke(self, timer: Timer, now: float) -> list[Effect]:
        match timer:
            case Deadline():
                return self._rounds.deadline(timer.round, now)
            case Reopening():
                return self._rounds.reopen()
            case SavingAgain():
                return self._rounds.save_again(timer.generation)
            case Comparing():
                asked = self._others.fetching.retry()
                compared = [*self._others.compare(now), *asked]
                return [*compared, *self._rounds.look_around(now), compare_later(self._config, now)]
        assert_never(timer)


def compare_later(config: CoreConfig, now: float) -> WakeAt:
    """The timer of the next comparison with a neighbour."""
    return WakeAt(at=now + config.round.compare_every_s, timer=Comparing())
