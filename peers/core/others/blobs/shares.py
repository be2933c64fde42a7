"""Push-sum shares: which neighbours this peer pushes mass to, and which shares arrived for it.

An announcement names its shares, one for each receiver; each is a blob that only its receiver fetches. A share holds
the total that ever went along its edge, so the newest replaces older ones, and a share that is lost, late or taken
twice does no harm. Arrived shares wait here until the learner has absorbed them, also after their author has
announced again and named other receivers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gossipllm.work import PushedShare
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.others.partners import heaviest
from wire.bounded import BoundedDict
from wire.digest import Content
from wire.messages import MAX_SHARES

BAD_SHARE_FINE = -5.0
"""For a share that cannot be absorbed. No ban at once: a peer that lost its newest state to a bad disk continues from
the state before, and its totals are below what it pushed last until it has pushed as much again."""


def receivers(
    entries: Sequence[ReceivedAnnouncement], *, me: PeerId, round_: int, near: Callable[[PeerId], bool]
) -> dict[PeerId, bytes]:
    """Neighbours to push to, with their keys: the connected authors of `entries`, since only they can fetch a share;
    `MAX_SHARES` of them by lot where there are more."""
    keys = {one.author: one.announcement.author for one in entries if one.mergeable and near(one.author)}
    drawn = heaviest(dict.fromkeys(keys, 0.0), me=me, round_=round_, most=MAX_SHARES, explore=MAX_SHARES)
    return {peer: keys[peer] for peer in sorted(drawn)}


class ArrivedShares:
    """The newest share of each sender, for the `most` senders that were heard last."""

    def __init__(self, most: int) -> None:
        self._waiting = BoundedDict[PeerId, PushedShare](most)

    def put(self, sender: PeerId, round_: int, content: Content) -> None:
        known = self._waiting.get(sender)
        if known is not None and known.round >= round_:
            return
        self._waiting.renew(sender, PushedShare(peer=sender, round=round_, content=content))

    def waiting(self, banned: Callable[[PeerId], bool]) -> tuple[PushedShare, ...]:
        """Shares to absorb, sorted by sender, without those of banned peers."""
        return tuple(share for peer, share in sorted(self._waiting.items()) if not banned(peer))

    def remove(self, shares: Sequence[PushedShare]) -> None:
        """Forget shares that were absorbed or refused."""
        for share in shares:
            if self._waiting.get(share.peer) == share:
                del self._waiting[share.peer]
