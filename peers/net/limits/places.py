"""Places for inbound connections: who may knock, who gets a place, and whose connection ends to make room.

An inbound connection is half open until its handshake has proved an identity; then it is seated. Identities are free,
so nothing here is first come, first served: a newcomer is refused for good only where every place is held by a peer
that has proven its worth. Otherwise the least useful connection ends: one without standing, of the most crowded
address group, the newest. Between equals, a connection is safe for its first `GRACE_S` seconds, so that each gets its
time and a flood cannot turn all places over in a second.

Of `max_connections`, a quarter is kept for connections that this host dials, which no stranger can bring about. An
eighth of the inbound places stays open to peers without standing, or a network that is full could never grow.

No I/O and no clock: the caller says what time it is and closes what is to end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from peers.net.host import PeerId
from peers.net.limits.groups import is_loopback_group, is_private_group, wider_group_of
from peers.net.limits.rates import Rates

KNOCKS_S, KNOCKS_BURST = 5.0, 32.0
"""New connections a second from one address group. RELIABILITY's stage 0; the burst is a demo that starts at once."""
WIDER_KNOCKS_S, WIDER_KNOCKS_BURST = 20.0, 128.0
"""The same from one IPv4 /24 or IPv6 /48: four addresses at full rate. A handshake costs about 5 ms of processor."""
ALL_KNOCKS_S, ALL_KNOCKS_BURST = 50.0, 256.0
"""The same in all, a quarter of one processor; and once more for the calm, or many addresses that never stop knocking
would use up what an honest peer needs to come back."""
CALM_KNOCKS: Final = 4
"""Connections that an address group may have begun in the last second to count as calm. Guess: a peer that redials."""
HALF_OPEN_PER_GROUP: Final = 8
"""Handshakes at a time from one address group; they end within `HANDSHAKE_S`. Guess: a household that restarts."""
HALF_OPEN: Final = 32
"""Handshakes at a time in all. Beyond it one of the most crowded group ends. Guess."""
HANDSHAKE_S: Final = 10.0
"""Seconds from the accepted connection to the proven identity. Where 30 % of the packets are lost it takes 5 s."""
PATIENCE_S: Final = 3.0
"""Seconds for which a handshake cannot be displaced by another of its own group. Guess: ten round trips of 300 ms."""
LOOPBACK_PLACES: Final = 32
"""Seated connections from this machine, where `max_per_address` is lower: all peers of a demo share one address.
Whoever connects from here runs programs here, and still cannot take all places."""
WIDER_FACTOR: Final = 4
"""A public /24 or /48 has as many places as four addresses. Private ranges have no such limit: one household is one
range."""
PER_IDENTITY: Final = 2
"""Inbound connections of one identity: the old one may not have noticed its end."""
GRACE_S: Final = 10.0
"""Seconds for which a seated connection is safe from its equals. Guess: time to greet and compare."""
OUTBOUND_SHARE: Final = 4
"""One in so many connections is kept for those that this host dials (RELIABILITY.md: 16 of 64)."""
NEWCOMER_SHARE: Final = 8
"""One in so many places stays open to peers without standing. Guess."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One inbound connection, from the accepted socket to its end. `close` ends it at once."""

    group: str
    close: Callable[[], None]
    since: float
    """When it was accepted, or seated."""
    peer: PeerId | None = None
    """The identity that it proved; None while it is half open."""
    wider: str = field(init=False)

    def __post_init__(self) -> None:
        self.wider = wider_group_of(self.group)


class Places:
    """The inbound connections of one host. `outbound` says how many connections it dialled, `standing` what a
    connection with a peer is worth."""

    def __init__(
        self,
        *,
        max_connections: int,
        max_per_address: int,
        outbound: Callable[[], int],
        standing: Callable[[PeerId], float],
    ) -> None:
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._outbound = outbound
        self._standing = standing
        self._tickets: dict[Ticket, None] = {}
        """In the order of arrival."""
        self._knocks = Rates(rate_s=KNOCKS_S, burst=KNOCKS_BURST)
        self._wider_knocks = Rates(rate_s=WIDER_KNOCKS_S, burst=WIDER_KNOCKS_BURST)
        self._all_knocks = Rates(rate_s=ALL_KNOCKS_S, burst=ALL_KNOCKS_BURST)
        self._calm_knocks = Rates(rate_s=ALL_KNOCKS_S, burst=ALL_KNOCKS_BURST)

    @property
    def seated(self) -> int:
        return sum(ticket.peer is not None for ticket in self._tickets)

    @property
    def half_open(self) -> int:
        return len(self._tickets) - self.seated

    @property
    def room(self) -> int:
        """Inbound connections that may be seated now."""
        return max(0, self._max_connections - max(self._max_connections // OUTBOUND_SHARE, self._outbound()))

    def knock(self, group: str, close: Callable[[], None], now: float) -> Ticket | None:
        """A place for the handshake of an accepted connection; None refuses it."""
        ticket = Ticket(group, close, now)
        if not self._in_rate(ticket, now) or not self._half_open_room(ticket, now):
            return None
        self._tickets[ticket] = None
        return ticket

    def seat(self, ticket: Ticket, peer: PeerId, now: float) -> bool:
        """A place for a connection whose handshake proved `peer`; False refuses it. May end another one."""
        ticket.peer, ticket.since = peer, now
        limits: tuple[tuple[Callable[[Ticket], bool], int], ...] = (
            (lambda one: one.peer == peer, PER_IDENTITY),
            (lambda one: one.group == ticket.group, self._most_of_group(ticket.group)),
            (lambda one: one.wider == ticket.wider, self._most_of_wider(ticket.group)),
            (lambda _: True, self.room),
        )
        for competes, most in limits:
            rivals = [one for one in self._seated() if competes(one)]
            if len(rivals) > most:
                victim = self._least_useful(rivals, ticket, now)
                self.leave(victim)
                if victim is ticket:
                    return False
                victim.close()
        return True

    def leave(self, ticket: Ticket) -> None:
        """The connection has ended."""
        self._tickets.pop(ticket, None)

    def _seated(self) -> list[Ticket]:
        return [ticket for ticket in self._tickets if ticket.peer is not None]

    def _in_rate(self, ticket: Ticket, now: float) -> bool:
        calm = self._knocks.has(ticket.group, now, KNOCKS_BURST - CALM_KNOCKS)
        # One after the other: a group that is over its rate must not use up that of the others.
        return (
            self._knocks.take(ticket.group, now)
            and (is_private_group(ticket.group) or self._wider_knocks.take(ticket.wider, now))
            and (self._all_knocks.take("", now) or (calm and self._calm_knocks.take("", now)))
        )

    def _half_open_room(self, ticket: Ticket, now: float) -> bool:
        waiting = [one for one in self._tickets if one.peer is None]
        same = [one for one in waiting if one.group == ticket.group]
        if len(same) >= HALF_OPEN_PER_GROUP:
            if now - same[0].since < PATIENCE_S:
                return False
            victim = same[0]
        elif len(waiting) >= HALF_OPEN:
            crowd = Counter(one.group for one in waiting)
            victim = max(waiting, key=lambda one: crowd[one.group])
            if crowd[victim.group] <= len(same) + 1 and now - victim.since < PATIENCE_S:
                return False
        else:
            return True
        self.leave(victim)
        victim.close()
        return True

    def _most_of_group(self, group: str) -> int:
        return max(self._max_per_address, LOOPBACK_PLACES if is_loopback_group(group) else 0)

    def _most_of_wider(self, group: str) -> int:
        return self._max_connections if is_private_group(group) else WIDER_FACTOR * self._max_per_address

    def _least_useful(self, rivals: list[Ticket], newcomer: Ticket, now: float) -> Ticket:
        """The one of the rivals, the newcomer among them, that goes so that the others can stay."""
        worth = {one: self._standing(one.peer or "") for one in rivals}
        proven = sorted((one for one in rivals if worth[one] > 0), key=lambda one: (-worth[one], one.since))
        safe = set(proven[: len(rivals) - 1 - len(rivals) // NEWCOMER_SHARE])
        rest = [one for one in rivals if one not in safe]
        groups = Counter(one.group for one in self._seated())
        widers = Counter(one.wider for one in self._seated() if not is_private_group(one.group))

        def crowd(one: Ticket) -> tuple[int, int]:
            return max(groups[one.group], widers[one.wider]), groups[one.group]

        def yields(one: Ticket) -> bool:
            if newcomer in safe or worth[one] < worth[newcomer] or crowd(one) > crowd(newcomer):
                return True
            return crowd(one) == crowd(newcomer) and now - one.since >= GRACE_S

        others = [one for one in reversed(rest) if one is not newcomer and yields(one)]
        return max(others, key=lambda one: (-worth[one], crowd(one), one.since), default=newcomer)
