"""Mass on its way, in a network that mixes by push-sum: to whom we push, and what was pushed to us.

An announcement names the shares it holds, one for each receiver, and each is a blob of its own that only its
receiver fetches. A share holds all that ever went along its edge, so the newest takes the place of the older ones,
and one that is lost, late or taken twice does no harm. Shares wait here until the learner has taken them in: an
author's next announcement may name other receivers, and what came for us stands all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gossipllm.work import PushedShare
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.others.partners import partners
from wire.digest import Content
from wire.messages import MAX_SHARES

BAD_SHARE_FINE = -5.0
"""For a share that cannot be taken in. No ban at once: a peer that lost its newest state to a bad disk goes on from the
one before, and its totals are below what it pushed last until it has pushed as much again."""


def receivers(
    entries: Sequence[ReceivedAnnouncement], *, me: PeerId, round_: int, near: Callable[[PeerId], bool]
) -> dict[PeerId, bytes]:
    """Whom to push to, with their keys: those lately heard who are connected, as only they can fetch it; some of them
    by lot where they are too many."""
    keys = {one.author: one.announcement.author for one in entries if one.fit and near(one.author)}
    drawn = partners(dict.fromkeys(keys, 0.0), me=me, round_=round_, most=MAX_SHARES, explore=MAX_SHARES)
    return {peer: keys[peer] for peer in sorted(drawn)}


class ArrivedShares:
    """Shares for us, the newest of each sender, of the last `most` senders."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[PeerId, PushedShare] = {}

    def put(self, sender: PeerId, round_: int, content: Content) -> None:
        known = self._waiting.get(sender)
        if known is not None and known.round >= round_:
            return
        self._waiting.pop(sender, None)
        self._waiting[sender] = PushedShare(peer=sender, round=round_, content=content)
        while len(self._waiting) > self._most:
            del self._waiting[next(iter(self._waiting))]

    def waiting(self, banned: Callable[[PeerId], bool]) -> tuple[PushedShare, ...]:
        """All that may be taken in, by sender."""
        return tuple(share for peer, share in sorted(self._waiting.items()) if not banned(peer))

    def remove(self, shares: Sequence[PushedShare]) -> None:
        """These were taken in, or cannot be."""
        for share in shares:
            if self._waiting.get(share.peer) == share:
                del self._waiting[share.peer]
