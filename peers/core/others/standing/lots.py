"""Lots: which strangers get a place among the partners of a round, drawn over addresses rather than identities.

Identities are free, so a lot over identities goes to the peer that makes the most of them. Addresses are not. So the
candidates of one address group hold one ticket together, however many they are, and places go round by tickets: no
ticket has a second place before every other ticket has one, and none has more than `most_of_one_group` while there are
other groups.

An author that is not connected has no address here. It shares a ticket with all others that were last heard of through
the same group. An honest neighbour also passes on what strangers told it, so these tickets prove less: they get one of
`DISTANT_SHARE` places, and more only where the tickets of connected authors leave places free.

Authors that announce the same update hold one place together, that of the first to announce it, because a copy must
have been heard first.

The order is a hash of (this peer, the name on the ticket, the round): replayable, and different for each peer and
round, so that no peer can make itself a name that is drawn everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from peers.core.events import PeerId
from wire.digest import digest_of

DISTANT_SHARE: Final = 8
"""Of so many drawn places, one goes to authors that are not connected. Guess: enough to find peers beyond one's own
connections within some rounds, and too few to be filled from outside."""
GROUP_SHARE: Final = 4
"""Of so many places, one address group gets at most one, and always one. Guess: a household, not a crowd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An author whose updates may be fetched.

    `rank` is what it has earned, the larger the better, None for a stranger. `group` is the address group of its
    connection, or where it is not connected of the one that told of it. `content` is the digest of its update,
    `arrived` the order in which announcements came.
    """

    author: PeerId
    rank: tuple[float, float] | None = None
    connected: bool = True
    group: str = ""
    content: bytes = b""
    arrived: int = 0


def drawn(
    candidates: Sequence[Candidate], *, me: PeerId, round_: int, most: int, explore: int
) -> frozenset[PeerId]:
    """At most `most` of the candidates; all of them where there are no more.

    At most `most - explore` places go by rank, all others by lot. A place may stay free where few groups have many
    candidates.
    """
    # Where all fit, a free place would protect no peer: what newcomers may weigh together is bounded elsewhere.
    if len(candidates) <= most:
        return frozenset(one.author for one in candidates)

    def lot(name: str) -> bytes:
        return digest_of(f"{me}\0{name}\0{round_}".encode())

    ranked = [(one.rank, one) for one in candidates if one.rank is not None]
    ranked.sort(key=lambda pair: (-pair[0][0], -pair[0][1], lot(pair[1].author)))
    proven = [one for _, one in ranked[: most - explore]]
    strangers = _originals(candidates, proven)
    places = most - len(proven)
    # With one group there is no other to protect, as where all peers run on one machine.
    deep = most_of_one_group(most) if len({one.group for one in strangers}) > 1 else most
    near = _in_turn([one for one in strangers if one.connected], lot, deep=deep)
    far = _in_turn([one for one in strangers if not one.connected], lot, deep=deep)
    kept_for_far = min(len(far), max(1, places // DISTANT_SHARE)) if places else 0
    taken = near[: places - kept_for_far]
    taken += far[: places - len(taken)]
    return frozenset(one.author for one in (*proven, *taken))


def most_of_one_group(most: int) -> int:
    """Places that one address group may have by lot, where there are others."""
    return max(1, most // GROUP_SHARE)


def _originals(candidates: Sequence[Candidate], proven: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without a place, of equal updates only the one that came first and none where a proven one has
    it."""
    places = {one.author for one in proven}
    seen = {one.content for one in proven if one.content}
    originals: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.arrived, one.author)):
        if one.author in places or one.content in seen:
            continue
        if one.content:
            seen.add(one.content)
        originals.append(one)
    return originals


def _in_turn(candidates: Sequence[Candidate], lot: Callable[[str], bytes], *, deep: int) -> list[Candidate]:
    """The candidates in the order in which they get places: one of each group, then a second of each, up to `deep`."""
    tickets: dict[str, list[Candidate]] = {}
    for one in candidates:
        tickets.setdefault(one.group, []).append(one)
    for group in tickets.values():
        group.sort(key=lambda one: lot(one.author))
    order = sorted(tickets, key=lambda group: lot(f"group {group}"))
    return [tickets[group][turn] for turn in range(deep) for group in order if turn < len(tickets[group])]
