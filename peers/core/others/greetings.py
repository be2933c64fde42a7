"""Comparing what is known: what we tell a neighbour that we hold, and what it lacks.

GossipSub repairs neither a late join nor a healed partition. So on every new connection, and from time to time
afterwards, two neighbours tell each other which rounds of whom they hold, and the answer brings what is newer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from peers.core.config import CoreConfig
from peers.core.effects import Effect, Greet, Stop
from peers.core.events import PeerId
from peers.core.others.admission import mismatch
from peers.core.others.complaints import Complaints
from peers.core.others.inbox import Inbox
from peers.core.terms import Terms
from wire.codec import decode_announcement, encode_greeting, encode_reply, without_payload
from wire.messages import MAX_FRAMES, MAX_KNOWN, Fingerprints, Greeting, Latest, Reply

MAX_MET = 1_000
"""Peers of whom we remember when we met them; the earliest goes first."""

CURES: Final = {
    "base": "Set [model] name in peer.toml to the base model of that network",
    "tokenizer": "Use the tokenizer that comes with the base model of that network",
    "reference": "Set [reference] in peer.toml as that network has it",
    "layout": "Set [adapter] in peer.toml as that network has it",
    "net": "Set [peer] network in peer.toml to that network's name",
}
"""What to do about a field in which two networks differ."""


class Greetings:
    """What is said in them, and whom we met so."""

    def __init__(self, config: CoreConfig, inbox: Inbox, complaints: Complaints) -> None:
        self._config = config
        self._inbox = inbox
        self._complaints = complaints
        self._met: dict[PeerId, int] = {}
        self._found_kin = False
        self._compared = 0
        self._own_frame = b""
        self._own_latest: Latest | None = None

    def own(self, frame: bytes) -> int:
        """Take our own latest announcement, to give to whoever compares; its round."""
        announcement = decode_announcement(frame).announcement
        self._own_frame = without_payload(frame)
        self._own_latest = Latest(author=announcement.author, round=announcement.round)
        return announcement.round

    def met_within(self, peer: PeerId, rounds: int) -> bool:
        """Whether we met this peer, and that within so many rounds of ours."""
        met = self._met.get(peer)
        return met is not None and self._inbox.turns - met < rounds

    def greeting(self, terms: Terms, peer: PeerId) -> Greet:
        latest = [
            Latest(author=one.announcement.author, round=one.announcement.round)
            for one in self._inbox.newest()
        ]
        own = [self._own_latest] if self._own_latest else []
        greeting = Greeting(
            v=1,
            net=terms.net,
            fingerprints=terms.fingerprints,
            latest=tuple((own + latest)[:MAX_KNOWN]),
        )
        return Greet(peer=peer, greeting=encode_greeting(greeting))

    def next(self, terms: Terms, connected: Collection[PeerId]) -> list[Effect]:
        """Greet the next neighbour in turn."""
        if not connected:
            return []
        self._compared += 1
        return [self.greeting(terms, list(connected)[self._compared % len(connected)])]

    def reply(self, terms: Terms, greeting: Greeting) -> bytes:
        kin = greeting.net == terms.net
        frames = self._newer_than({one.author: one.round for one in greeting.latest}) if kin else ()
        return encode_reply(Reply(v=1, net=terms.net, fingerprints=terms.fingerprints, frames=frames))

    def meet(self, terms: Terms, peer: PeerId, net: bytes, theirs: Fingerprints, now: float) -> list[Effect]:
        """What follows from which network the other is of."""
        if net == terms.net:
            self._found_kin = True
            self._met.setdefault(peer, self._inbox.turns)
            if len(self._met) > MAX_MET:
                del self._met[next(iter(self._met))]
            return []
        self._met.pop(peer, None)
        differs = mismatch(theirs, terms.fingerprints)
        field, why = differs or ("net", f"another network name than {self._config.network!r}")
        if peer in self._config.joined and not self._found_kin:
            return [Stop(code=2, why=f"the network of {peer} differs in its {field}: {why}. {CURES[field]}")]
        return [*self._complaints.about(peer, field, why, now)]

    def _newer_than(self, known: dict[bytes, int]) -> tuple[bytes, ...]:
        """Announcements that the other lacks, the youngest first; none so old that nobody would merge it."""
        own, oldest = self._own_latest, self._config.trust.max_age
        frames = [self._own_frame] if own and known.get(own.author, -1) < own.round else []
        newer = [
            one
            for one in self._inbox.newest()
            if known.get(one.announcement.author, -1) < one.announcement.round
            and self._inbox.age(one) <= oldest
        ]
        frames += [one.frame for one in sorted(newer, key=self._inbox.age)]
        return tuple(frames[:MAX_FRAMES])
