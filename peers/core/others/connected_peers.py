"""ConnectedPeers: who is connected, how each peer behaved, and what was reported about it.

These exist from the start of the process. What can only be known once the learner is open (which network this
peer is of, what an announcement must look like) is in `neighbourhood.py`.
"""

from __future__ import annotations

from collections.abc import KeysView

from peers.core.config import CoreConfig
from peers.core.effects import Drop, Effect
from peers.core.events import PeerId
from peers.core.others.complaints import Complaints
from peers.core.others.scores import Scores
from peers.core.others.seats import Seats


class ConnectedPeers:
    """The connected peers in the order in which they connected, with the scores and the standings of all peers."""

    def __init__(self, config: CoreConfig, me: PeerId) -> None:
        self._peers: dict[PeerId, str] = {}
        """Connected peer -> its address group."""
        self.scores = Scores(config.scores)
        self.seats = Seats()
        self.complaints = Complaints(me)

    @property
    def peers(self) -> KeysView[PeerId]:
        return self._peers.keys()

    def group(self, peer: PeerId) -> str:
        """The address group of a connected peer's connection; empty where it is not known or not connected."""
        return self._peers.get(peer, "")

    def connect(self, peer: PeerId, now: float, *, group: str = "") -> list[Effect]:
        """Take a new connection; the effect that closes it where this peer is unwelcome."""
        if self.scores.unwelcome(peer, now):
            return [Drop(peer=peer)]
        self._peers[peer] = group
        return []

    def disconnect(self, peer: PeerId) -> None:
        self._peers.pop(peer, None)

    def fine(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """Log what a peer did, and lower its score by `amount` (negative, or 0)."""
        self.scores.fine(peer, amount, now)
        effects: list[Effect] = [*self.complaints.about(peer, field, why, now)]
        if self.scores.unwelcome(peer, now) and peer in self._peers:
            effects.append(Drop(peer=peer))
        return effects
