"""ConnectedPeers: who is connected, how each peer behaved, and what was reported about it.

These exist from the start of the process. What can only be known once the learner is open (which network this
peer is of, what an announcement must look like) is in `neighbourhood.py`.

Bad bytes cost the peer that sent them, and its address group a part of that: a group from which several peers were
fined gets no more connections for a while, but for those of seated neighbours and of peers whose address the user
gave. So one bad peer behind a shared address closes it to none, and new identities are no way around a ban.
"""

from __future__ import annotations

from collections.abc import Collection, KeysView
from typing import Final

from peers.core.config import CoreConfig
from peers.core.effects import Drop, Effect, Log
from peers.core.events import PeerId
from peers.core.others.standing.complaints import Complaints
from peers.core.others.standing.scores import Scores
from peers.core.others.standing.seats import Seats
from trust.counting import counted
from trust.record.history import Note
from wire.bounded import BoundedDict

GROUP_PART: Final = 8
"""The score of an address group falls by one in so many parts of its peers' fines. The worst score of one peer, -100,
then leaves a group above the scores at which connections are closed and banned (-20 and -50); the second does not."""
MAX_TOLD: Final = 2_000
"""Authors for which it is remembered who told of them: twice those in the inbox. The earliest is forgotten first."""

MAX_NAMED: Final = 4
"""Newly blocked peers that a note names."""


class ConnectedPeers:
    """The connected peers in the order in which they connected, with the scores and the standings of all peers."""

    def __init__(self, config: CoreConfig, me: PeerId) -> None:
        self._me = me
        self._joined = config.joined
        self._peers: dict[PeerId, str] = {}
        """Connected peer -> its address group."""
        self.peers: Final[KeysView[PeerId]] = self._peers.keys()
        """The connected peers as they are at any time, in the order in which they connected."""
        self._told_by = BoundedDict[PeerId, str](MAX_TOLD)
        """Author -> source of the peer that last told of it."""
        self.scores = Scores(config.scores)
        self.seats = Seats()
        self.complaints = Complaints(me, self.source)

    def group(self, peer: PeerId) -> str:
        """The address group of a connected peer's connection; empty where it is not known or not connected."""
        return self._peers.get(peer, "")

    def source(self, peer: PeerId) -> str:
        """By whom budgets count for this peer: the address group of its connection, the connection itself where that
        is not known, or the source of the peer that told of it."""
        if peer in self._peers:
            return self._peers[peer] or peer
        return self._told_by.get(peer, peer)

    def told(self, author: PeerId, via: PeerId) -> None:
        """Note that `via` told of this author. While the author is connected, its own connection is its source."""
        if author not in self._peers:
            self._told_by.renew(author, self.source(via))

    def connect(self, peer: PeerId, now: float, *, group: str = "") -> list[Effect]:
        """Take a new connection; the effect that closes it where this peer is unwelcome."""
        proven = peer in self._joined or self.seats.seated(peer)
        closed = not proven and group and self.scores.unwelcome(_group_key(group), now)
        if closed or self.scores.unwelcome(peer, now):
            return [Drop(peer=peer)]
        self._peers[peer] = group
        return []

    def block(self, peers: Collection[PeerId]) -> list[Effect]:
        """Block these peers in place of those before, and close their connections."""
        before, self.scores.blocked = self.scores.blocked, frozenset(peers)
        now_blocked = self.scores.blocked
        if now_blocked == before:
            return []
        drops: list[Effect] = [Drop(peer=peer) for peer in self._peers if peer in now_blocked - before]
        named = ", ".join(sorted(now_blocked - before)[:MAX_NAMED])
        text = f"{counted(len(now_blocked), 'peer is', 'peers are')} blocked" + (
            f", now also {named}" if named else ""
        )
        return [Log(record=Note(peer=self._me, level="info", text=text)), *drops]

    def disconnect(self, peer: PeerId) -> None:
        if peer in self._peers:
            self._told_by.renew(peer, self.source(peer))
            del self._peers[peer]

    def fine_sender(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """`fine`, for what a peer sent itself, which its address group answers for too."""
        group = self.group(peer)
        if group:
            self.scores.fine(_group_key(group), amount / GROUP_PART, now)
        return self.fine(peer, field, why, amount, now)

    def fine(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """Log what a peer did, and lower its score by `amount` (negative, or 0)."""
        self.scores.fine(peer, amount, now)
        effects: list[Effect] = [*self.complaints.about(peer, field, why, now)]
        if self.scores.unwelcome(peer, now) and peer in self._peers:
            effects.append(Drop(peer=peer))
        return effects


def _group_key(group: str) -> str:
    # No peer id has a space.
    return f"group {group}"
