"""Which units a peer trains, so that those here share them out without a word.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by Schindelhauer and Schomaker 2005): for every
unit each peer draws `-capacity / ln h`, with h in (0, 1) from a hash of peer, unit and epoch, and the largest
draws own it. Anybody can compute anybody's draws, so no message is needed. A draw depends on nobody else, so a
peer that leaves hands over its own units and no others. `-ln h / capacity` is a waiting time at the rate
`capacity`, and who is first in such a race is first with probability capacity / all capacities: a peer's part of
the units is its part of the capacities, on average.

Peers that see different crowds, or are told different capacities, disagree about some owners. Such a unit is
trained twice or not at all in this epoch, and the merge copes with both. A capacity is a claim: a false one
leaves units untrained until the next epoch, but buys no weight.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final

MAX_CAPACITY: Final = 1e12
"""Far above any ratio of two machines, and far below where a draw becomes infinite."""

_BITS: Final = 52
"""Of the hash: with one more, h = 1 - 2^-54 would round to 1, whose logarithm is 0."""


def owned(
    me: str, peers: Mapping[str, float], units: Sequence[str], *, epoch: int, copies: int
) -> frozenset[int]:
    """Indices of the units that `me` trains in this epoch; `peers` is everybody here, `me` included, by capacity.

    Those that `owners` gives it. Where that is none, the one unit that it drew highest for, besides its owners, so
    that everybody trains something; a peer of capacity 0 has nothing all the same.
    """
    if me not in peers:
        raise ValueError(f"me must be one of the peers, got {me!r}")
    mine = frozenset(
        index for index, who in enumerate(owners(peers, units, epoch=epoch, copies=copies)) if me in who
    )
    if mine or not units or not peers[me]:
        return mine
    draws = [_draw(me, unit, epoch) for unit in units]
    return frozenset((draws.index(max(draws)),))


def owners(
    peers: Mapping[str, float], units: Sequence[str], *, epoch: int, copies: int
) -> tuple[tuple[str, ...], ...]:
    """For each unit the `copies` peers that own it, best draw first, ties by id; all that can, if they are fewer.

    `peers` are capacities by id, in any unit, 0 to `MAX_CAPACITY`; 0 owns nothing. Units are by name, which must
    differ; a new `epoch` draws anew.
    """
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}")
    if len(set(units)) < len(units):
        raise ValueError("units must have different names")
    for peer, capacity in peers.items():
        if not 0 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"capacity must be in 0..{MAX_CAPACITY:g}, got {capacity} of {peer!r}")
    able = [(peer, capacity) for peer, capacity in peers.items() if capacity]
    return tuple(
        tuple(
            peer
            for _, peer in sorted((-capacity * _draw(peer, unit, epoch), peer) for peer, capacity in able)[
                :copies
            ]
        )
        for unit in units
    )


def _draw(peer: str, unit: str, epoch: int) -> float:
    """`-1 / ln h`, above 0 and finite."""
    hasher = hashlib.sha256()
    for part in (peer.encode(), unit.encode(), str(epoch).encode()):
        # With its length before it, so that no two triples run together to the same bytes.
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    number = int.from_bytes(hasher.digest()[:8], "little") >> (64 - _BITS)
    return -1 / math.log((2 * number + 1) / 2 ** (_BITS + 1))
