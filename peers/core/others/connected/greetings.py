"""Greetings: the comparison of known announcements between two neighbours (anti-entropy).

GossipSub repairs neither a late join nor a healed partition. So on every new connection, and every
`compare_every_s` seconds afterwards, a peer lists the rounds that it knows of each author, and the reply brings the
newer announcements.

A reply has room for a few announcements. Those of seated neighbours come first, then one from each source in turn, so
that a flood from one source does not keep the others out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection

from peers.core.config import CoreConfig
from peers.core.effects import Effect, Greet, Stop
from peers.core.events import PeerId
from peers.core.others.connected.company import Company
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.connected.relation import CURES, OWN_FIELDS, mismatch, other_network
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.standing.budgets import GREETINGS_OF_PEER, GREETINGS_OF_SOURCE, Meter
from peers.core.terms import Terms
from wire.bounded import BoundedDict
from wire.codec import decode_announcement, encode_greeting, encode_reply, without_payload
from wire.messages import MAX_FRAMES, MAX_KNOWN, Fingerprints, Greeting, Latest, Reply

MAX_MET = 1_000
"""Peers whose first meeting is remembered; the earliest is forgotten first."""


class Greetings:
    """Makes greetings and replies, and remembers which peers of this network were met."""

    def __init__(
        self,
        config: CoreConfig,
        terms: Terms,
        inbox: Inbox,
        connections: ConnectedPeers,
        company: Company,
    ) -> None:
        self._config = config
        self._terms = terms
        self._company = company
        self._inbox = inbox
        self._connections = connections
        self._of_peer = Meter(GREETINGS_OF_PEER)
        self._of_source = Meter(GREETINGS_OF_SOURCE)
        self._met = BoundedDict[PeerId, int](MAX_MET)
        """Peer from which this one may learn -> how many rounds of this peer had ended when they met."""
        self._found_network = False
        """Whether any peer of this network was met: then a mismatch with another peer is no reason to stop."""
        self._compared = 0
        self._own_frame = b""
        self._own_latest: Latest | None = None

    def set_own(self, frame: bytes) -> int:
        """Take this peer's own latest announcement, to give to neighbours that compare; returns its round."""
        announcement = decode_announcement(frame).announcement
        self._own_frame = without_payload(frame)
        self._own_latest = Latest(author=announcement.author, round=announcement.round)
        return announcement.round

    def met_within(self, peer: PeerId, rounds: int) -> bool:
        """Whether this peer, from which we may learn, was met within the last `rounds` rounds of our own."""
        met = self._met.get(peer)
        return met is not None and self._inbox.turns - met < rounds

    def greeting(self, peer: PeerId) -> Greet:
        latest = [
            Latest(author=one.announcement.author, round=one.announcement.round)
            for one in self._inbox.newest()
        ]
        own = [self._own_latest] if self._own_latest else []
        greeting = Greeting(
            v=1,
            net=self._terms.net,
            fingerprints=self._terms.fingerprints,
            latest=tuple((own + latest)[:MAX_KNOWN]),
        )
        return Greet(peer=peer, greeting=encode_greeting(greeting))

    def next(self, connected: Collection[PeerId]) -> list[Effect]:
        """Greet the next neighbour in turn."""
        if not connected:
            return []
        self._compared += 1
        return [self.greeting(list(connected)[self._compared % len(connected)])]

    def may_ask(self, peer: PeerId, now: float) -> bool:
        """Whether a greeting of this peer is answered now."""
        return self._of_source.take(self._connections.source(peer), now) and self._of_peer.take(peer, now)

    def reply(self, greeting: Greeting) -> bytes:
        terms = self._terms
        same_network = greeting.net == terms.net
        known = {one.author: one.round for one in greeting.latest}
        frames = self._newer_than(known, greeting.fingerprints) if same_network else ()
        return encode_reply(Reply(v=1, net=terms.net, fingerprints=terms.fingerprints, frames=frames))

    def meet(self, peer: PeerId, net: bytes, theirs: Fingerprints, now: float) -> list[Effect]:
        """Learn which network a peer is of. Stops this peer where the user asked for another network than it is in."""
        terms = self._terms
        differs = other_network(net, theirs, terms.fingerprints, name=terms.network, our_net=terms.net)
        if differs is None:
            self._found_network = True
            said = self._company.greeted(peer, theirs, now)
            if not self._company.may_help(peer):
                self._met.pop(peer, None)
            elif peer not in self._met:
                self._met[peer] = self._inbox.turns
            return [*said]
        self._met.pop(peer, None)
        field, why = differs
        if peer in self._config.joined and not self._found_network:
            return [Stop(code=2, why=f"the network of {peer} differs in its {field}: {why}. {CURES[field]}")]
        return [*self._connections.complaints.about(peer, field, why, now)]

    def _newer_than(self, known: dict[bytes, int], asker: Fingerprints) -> tuple[bytes, ...]:
        """Frames of announcements that the neighbour lacks, none too old to be merged: in turn one that the asker can
        merge by what it holds, and one that it cannot."""
        own, oldest = self._own_latest, self._config.trust.max_age
        frames = [self._own_frame] if own and known.get(own.author, -1) < own.round else []
        newer = [
            one
            for one in self._inbox.newest()
            if known.get(one.announcement.author, -1) < one.announcement.round
            and self._inbox.age(one) <= oldest
        ]
        kin, foreign = deque[ReceivedAnnouncement](), deque[ReceivedAnnouncement]()
        for one in self._in_turn(newer):
            differs = mismatch(one.announcement.fingerprints, asker, OWN_FIELDS)
            (kin if differs is None else foreign).append(one)
        while (kin or foreign) and len(frames) < MAX_FRAMES:
            frames += [queue.popleft().frame for queue in (kin, foreign) if queue]
        return tuple(frames[:MAX_FRAMES])

    def _in_turn(self, entries: list[ReceivedAnnouncement]) -> list[ReceivedAnnouncement]:
        """Seated neighbours first, then one of each source and a second of each; the younger first."""
        turns = Counter[str]()
        order: list[tuple[int, ReceivedAnnouncement]] = []
        for one in sorted(entries, key=self._inbox.age):
            if self._connections.seats.seated(one.author):
                order.append((0, one))
                continue
            source = self._connections.source(one.author)
            turns[source] += 1
            order.append((turns[source], one))
        return [one for _, one in sorted(order, key=lambda pair: pair[0])]
