"""Assignment of units to the peers that train them, computed by every peer alone, without messages.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by Schindelhauer and Schomaker 2005): for every unit
each peer has a draw `-capacity / ln h`, with h in (0, 1) from a hash of peer, unit and epoch, and the peers with the
largest draws own the unit. Every peer can compute the draws of all peers. A draw does not depend on other peers, so
only the units of a peer that leaves get new owners. `-ln h / capacity` is an exponential waiting time of rate
`capacity`, and the smallest of several such times belongs to a peer with probability capacity / sum of capacities: on
average, a peer's share of the units is its share of the capacities.

Peers that know different sets of peers, or different capacities, disagree about some owners. Such a unit is trained
twice or not at all in this epoch; the merge handles both.

A capacity is a claim, and identities are free, so strangers could own all units and train none. `kept` therefore bounds
every capacity by the usual one of the peers that are trusted, and gives a unit that only strangers own an owner among
the trusted peers besides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from statistics import median_low
from typing import Final

MAX_CAPACITY: Final = 1e12
"""Largest capacity: far above any ratio of two machines, and far below where a draw becomes infinite."""

CAPACITY_TIMES: Final = 4.0
"""Largest capacity that is believed, in units of the lower median of the trusted peers'. Guess: two machines of one
network seldom differ by more in what they train in a round of equal steps."""

_BITS: Final = 52
"""Bits of the hash that are used. With 53, h = 1 - 2^-54 would round to 1, whose logarithm is 0."""


def owned(
    me: str, peers: Mapping[str, float], units: Sequence[str], *, epoch: int, copies: int
) -> frozenset[int]:
    """Indices of the units that `me` trains in this epoch; `peers` maps all known peers, `me` included, to capacities.

    These are the units that `owners` assigns to `me`. A peer that owns none trains the unit of its largest draw, in
    addition to the owners, so that every peer trains something; a peer of capacity 0 trains nothing.
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


def kept(
    me: str,
    peers: Mapping[str, float],
    units: Sequence[str],
    *,
    epoch: int,
    copies: int,
    trusted: Collection[str],
) -> frozenset[int]:
    """As `owned`, where only `me` and the peers in `trusted` can be relied on.

    No capacity counts for more than `CAPACITY_TIMES` the lower median of theirs. Of the units that belong to none of
    them, `me` trains those that it would own among them, so each unit is trained by a trusted peer. While a peer trusts
    nobody, it would train all units; it divides them with strangers instead, by capacities that are bounded by its own.
    """
    if me not in peers:
        raise ValueError(f"me must be one of the peers, got {me!r}")
    sure = {peer: capacity for peer, capacity in peers.items() if peer == me or peer in trusted}
    most = CAPACITY_TIMES * median_low(sure.values())
    believed = {peer: min(capacity, most) for peer, capacity in peers.items()}
    mine = owned(me, believed, units, epoch=epoch, copies=copies)
    if len(sure) == 1:
        return mine
    of_all = owners(believed, units, epoch=epoch, copies=copies)
    of_sure = owners({peer: believed[peer] for peer in sure}, units, epoch=epoch, copies=1)
    lone = (index for index, who in enumerate(of_all) if sure.keys().isdisjoint(who))
    return mine | {index for index in lone if me in of_sure[index]}


def owners(
    peers: Mapping[str, float], units: Sequence[str], *, epoch: int, copies: int
) -> tuple[tuple[str, ...], ...]:
    """The `copies` peers that own each unit, largest draw first, ties by id; fewer where fewer peers have a capacity.

    `peers` maps ids to capacities, in any unit, 0 to `MAX_CAPACITY`; a peer of capacity 0 owns nothing. `units` are
    distinct names. Draws of different epochs are independent.
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
    """`-1 / ln h` of the hash of peer, unit and epoch; above 0 and finite. PROTOCOL.md, section 5.6, specifies it."""
    hasher = hashlib.sha256()
    for part in (peer.encode(), unit.encode(), str(epoch).encode()):
        # Preceded by its length, so that two different triples never hash the same bytes.
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    number = int.from_bytes(hasher.digest()[:8], "little") >> (64 - _BITS)
    # h is the middle of one of 2^52 equal intervals, hence never 0 or 1.
    return -1 / math.log((2 * number + 1) / 2 ** (_BITS + 1))
