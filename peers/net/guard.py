"""Keeps exceptions of the peer above the network from reaching libp2p.

An exception of ours inside a callback of the library would end the router or the swarm, and a stranger's frame may be
what provokes it. It is logged with its traceback, once for each callback (the stranger may be able to repeat it), and
the network gets an answer that harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from peers.net.host import Link, Peer, PeerId, Verdict

_log = logging.getLogger(__name__)

T = TypeVar("T")


class GuardedPeer:
    """A `Peer` that never raises, around a `Peer` that should not."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._told: set[str] = set()

    def hear(self, frame: bytes, via: PeerId) -> Verdict:
        return self._call("hear", lambda: self._peer.hear(frame, via), Verdict.IGNORE)

    def greeted(self, greeting: bytes, via: PeerId) -> bytes | None:
        return self._call("greeted", lambda: self._peer.greeted(greeting, via), None)

    def blob(self, digest: bytes, asker: PeerId) -> bytes | None:
        return self._call("blob", lambda: self._peer.blob(digest, asker), None)

    def withholds(self, digest: bytes, asker: PeerId) -> bool:
        return self._call("withholds", lambda: self._peer.withholds(digest, asker), False)

    def connected(self, peer: PeerId, link: Link) -> None:
        self._call("connected", lambda: self._peer.connected(peer, link), None)

    def disconnected(self, peer: PeerId) -> None:
        self._call("disconnected", lambda: self._peer.disconnected(peer), None)

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        self._call("misbehaved", lambda: self._peer.misbehaved(peer, field, why, fine), None)

    def welcome(self, peer: PeerId) -> bool:
        return self._call("welcome", lambda: self._peer.welcome(peer), True)

    def standing(self, peer: PeerId) -> float:
        return self._call("standing", lambda: self._peer.standing(peer), 0.0)

    def _call(self, name: str, call: Callable[[], T], otherwise: T) -> T:
        try:
            return call()
        except Exception:  # noqa: BLE001 - that is what this class is for
            if name not in self._told:
                self._told.add(name)
                _log.exception("%s raised; nobody is fined for it", name)
            return otherwise
