"""A peer before its learner is open for the first time.

It holds connections, but does not know yet which network it is of, so it relays nothing, answers no greeting and
fetches nothing. It opens the learner, again after a pause where that dies, and becomes a `Running` peer when the
learner is open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from gossipllm.work import (
    Failed,
    Opened,
)
from peers.core.config import CoreConfig
from peers.core.effects import Adopt, Answer, Effect, Judge, Stop, Verdict
from peers.core.events import (
    Blocked,
    Comparing,
    Connected,
    Deadline,
    Disconnected,
    Event,
    Greeted,
    Heard,
    LearnerLost,
    Misbehaved,
    PeerId,
    Reopening,
    Replied,
    SavingAgain,
    Started,
    Timer,
    Woke,
)
from peers.core.others.admission import MALFORMED_FINE, Keys
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.copies import met_itself
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.learner_supervision import LearnerSupervision, note
from peers.core.round.planning import Planner
from peers.core.round.rounds import Rounds
from peers.core.round.stages import Opening
from peers.core.running import Running, compare_later
from peers.core.saved import Saved, beginning, last_announced
from peers.core.terms import Terms
from wire.codec import decode_greeting, decode_reply
from wire.errors import WireError
from wire.messages import MAX_BLOB_BYTES


class Starting:
    """`saved` is the state on disk, None for a peer that never ran."""

    def __init__(
        self,
        config: CoreConfig,
        keys: Keys,
        saved: Saved | None,
        *,
        connections: ConnectedPeers,
        new_request: Callable[[], int],
    ) -> None:
        self._config = config
        self._keys = keys
        self._saved = saved
        self._connections = connections
        self._new_request = new_request
        self._supervision = LearnerSupervision(config, keys.peer_id)
        self.stage = Opening(None)

    @property
    def round(self) -> int:
        return self._saved.round if self._saved else 0

    def handle(self, event: Event, now: float) -> tuple[list[Effect], Running | None]:
        """The effects, and the running peer once the learner is open."""
        if isinstance(event, Opened):
            return self._on_opened(event, now)
        return self._on_other(event, now), None

    def _on_other(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Started():
                return [*self._open(), compare_later(self._config, now)]
            case Woke():
                return self._on_woke(event.timer, now)
            case Failed():
                if event.request != self.stage.request:
                    return []
                if event.users_fault:
                    return [Stop(code=2, why=event.why)]
                return self._on_lost(event.why, now)
            case LearnerLost():
                return self._on_lost(event.why, now, crash=event.crash)
            case Heard() | Greeted() | Replied() | Connected() | Disconnected() | Misbehaved() | Blocked():
                return self._on_others(event, now)
            case _:
                # Answers to questions that this life of the core never asked.
                return []

    def _on_opened(self, event: Opened, now: float) -> tuple[list[Effect], Running | None]:
        if event.request != self.stage.request:
            return [], None
        stop = self._supervision.stop_on_mismatch(event, self._saved)
        if stop is not None:
            return [stop], None
        adopted = self._adopted(event)
        terms = Terms.of(self._config.network, event)
        planner = Planner(self._keys.peer_id, terms, self._supervision.learner)
        # The size of a block window's update is not known yet, and is far below the limit.
        size = 0 if planner.by_block_window else max(terms.schema.size(terms.offer), terms.share_bytes)
        if size > MAX_BLOB_BYTES:
            why = f"what this peer would announce takes {size} bytes, and others refuse more than {MAX_BLOB_BYTES}"
            return [Stop(code=2, why=f"{why}; train less of the model, with [adapter] or [layers]")], None
        heard = self._saved.heard if self._saved else ()
        announced = last_announced(self._saved) if self._saved else (-1, None)
        neighbourhood = Neighbourhood(
            self._config, self._keys, terms, self._connections, heard, announced=announced
        )
        rounds = Rounds(
            self._config,
            self._keys,
            neighbourhood,
            self._supervision,
            planner=planner,
            saved=self._saved or beginning(event.fingerprints),
            new_request=self._new_request,
        )
        effects = [*adopted, *neighbourhood.greet_all(), *rounds.begin(event, now)]
        return effects, Running(self._config, neighbourhood, rounds)

    def _adopted(self, event: Opened) -> list[Effect]:
        """Go on with the settings that the learner chose, and tell the user."""
        if event.chosen is None:
            return []
        self._config = self._config.with_chosen(event.chosen)
        self._supervision.chose(event.chosen)
        return [Adopt(chosen=event.chosen), note(self._keys.peer_id, "info", event.chosen.line)]

    def _on_woke(self, timer: Timer, now: float) -> list[Effect]:
        match timer:
            case Reopening():
                return self._open() if self.stage == Opening(None) else []
            case Comparing():
                return [*self._connections.complaints.summary(now), compare_later(self._config, now)]
            case Deadline() | SavingAgain():
                return []
        assert_never(timer)

    def _on_lost(self, why: str, now: float, *, crash: bool = False) -> list[Effect]:
        if self.stage == Opening(None):
            return []
        self.stage = Opening(None)
        return self._supervision.lost(why, now, round_=self.round, step="first opening", crash=crash)

    def _on_others(
        self, event: Heard | Greeted | Replied | Connected | Disconnected | Misbehaved | Blocked, now: float
    ) -> list[Effect]:
        match event:
            case Heard():
                return [Judge(verdict=Verdict.IGNORE)]
            case Greeted():
                return [Answer(reply=None), *self._checked(decode_greeting, event.greeting, event.via, now)]
            case Replied():
                return self._checked(decode_reply, event.reply, event.via, now)
            case Connected():
                return self._connections.connect(event.peer, now, group=event.group)
            case Disconnected():
                self._connections.disconnect(event.peer)
                return []
            case Misbehaved():
                if event.peer == self._keys.peer_id:
                    return [Stop(code=2, why=met_itself(event.why))]
                return self._connections.fine_sender(event.peer, event.field, event.why, event.fine, now)
            case Blocked():
                return self._connections.block(event.peers)
        assert_never(event)

    def _checked(
        self, decode: Callable[[bytes], object], data: bytes, via: PeerId, now: float
    ) -> list[Effect]:
        """Fine the sender of malformed bytes, although nothing is done with good ones yet."""
        try:
            decode(data)
        except WireError as error:
            return self._connections.fine_sender(via, error.field, error.why, MALFORMED_FINE, now)
        return []

    def _open(self) -> list[Effect]:
        request = self._new_request()
        self.stage = Opening(request)
        return [self._supervision.open(request, self._saved)]
