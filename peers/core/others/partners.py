"""Partners: the peers whose updates are fetched. All in a small network, else the most useful and some others.

All announcements are heard, because they are cheap; updates are not, so their number is bounded. Choosing only the
best would never find a new peer, and an attacker could surround this one, so some places go to other peers, drawn by a
hash of (this peer, the other peer, the round): replayable, and different for each peer and round.
"""

from __future__ import annotations

from collections.abc import Mapping

from peers.core.events import PeerId
from wire.digest import digest_of


def partners(
    weights: Mapping[PeerId, float], *, me: PeerId, round_: int, most: int, explore: int
) -> frozenset[PeerId]:
    """At most `most` of the authors in `weights` (author -> its last weight in our row, 0 if none).

    `most - explore` go to the largest weights, the rest by lot.
    """
    if len(weights) <= most:
        return frozenset(weights)
    by_weight = sorted(weights, key=lambda peer: (-weights[peer], _lot(me, peer, round_)))
    best = by_weight[: most - explore]
    others = sorted(by_weight[most - explore :], key=lambda peer: _lot(me, peer, round_))
    return frozenset(best) | frozenset(others[:explore])


def _lot(me: PeerId, peer: PeerId, round_: int) -> bytes:
    return digest_of(f"{me}\0{peer}\0{round_}".encode())
