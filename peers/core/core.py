"""The peer: one state machine without I/O. `handle(event, now) -> effects`, and nothing else.

It is `Starting` until its learner is open for the first time, and `Running` from then on. A running peer has two
halves: `others/` knows the other peers and checks what comes from them, `round/` trains, gathers, chooses and
merges. `round/stages.py` has the table of the stages of a round.

`now` is seconds on a clock that never runs backwards while the process lives and that is near Unix time when
it starts (scores and bans outlive the process). No decision depends on another peer's clock. Equal events at
equal times give equal effects, so every run can be replayed from its log of events.
"""

from __future__ import annotations

import itertools
from functools import partial

from peers.core.config import CoreConfig
from peers.core.effects import Effect
from peers.core.events import Event, PeerId
from peers.core.others.admission import Keys
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.round.stages import Stage
from peers.core.running import Running
from peers.core.saved import Saved, spoken
from peers.core.starting import Starting


class Core:
    """One peer's decisions. `saved` is the state on disk, None for a peer that never ran."""

    def __init__(self, config: CoreConfig, keys: Keys, saved: Saved | None) -> None:
        self._joined = config.joined
        self._connections = ConnectedPeers(config, keys.peer_id)
        if saved is not None:
            saved = spoken(saved)
            self._connections.scores.restore(
                (one.peer, one.score, one.at_s, one.banned_until_s) for one in saved.standings
            )
            self._connections.seats.restore(saved.seats)
        # Requests are numbered through, so that an answer to an earlier life of the learner fits no later question.
        self._phase: Starting | Running = Starting(
            config,
            keys,
            saved,
            connections=self._connections,
            new_request=partial(next, itertools.count(1)),
        )

    @property
    def round(self) -> int:
        return self._phase.round

    @property
    def stage(self) -> Stage:
        return self._phase.stage

    def welcome(self, peer: PeerId, now: float) -> bool:
        """Whether a connection with this peer may stand."""
        return not self._connections.scores.unwelcome(peer, now)

    def standing(self, peer: PeerId) -> float:
        """How much a connection with this peer has proven to be worth, in [0, 1]; 0 for a stranger. Connections of
        peers with a standing are the last to go where the network is short of places. 1 for a peer whose address the
        user gave, else what it has earned by measured gains; 0 for a blocked peer."""
        if peer in self._connections.scores.blocked:
            return 0.0
        return 1.0 if peer in self._joined else self._connections.seats.level(peer)

    def blob(self, digest: bytes, peer: PeerId) -> bytes | None:
        """A blob for `peer`: of our last announcement, or a neighbour's that is held here. None where there is none, or
        where the peer does not see it yet (`withholds`). Whoever gives it to the peer tells the core (`Showed`)."""
        running = self._phase
        content = running.blob(digest) if isinstance(running, Running) else None
        if not content or not isinstance(running, Running) or not running.showing.allows(digest, peer):
            return None
        return content.data

    def withholds(self, digest: bytes, peer: PeerId) -> bool:
        """Whether `peer` may have a blob later: it is here and shown once the peer has announced something itself, or
        it is on its way."""
        running = self._phase
        if not isinstance(running, Running):
            return False
        if running.blob(digest) is None:
            return running.expects(digest, peer)
        return not running.showing.allows(digest, peer)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """The effects of an event, in order. A late or repeated event is normal and gives none."""
        if isinstance(self._phase, Running):
            return self._phase.handle(event, now)
        effects, running = self._phase.handle(event, now)
        if running is not None:
            self._phase = running
        return effects
