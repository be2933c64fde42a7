"""Awaiting: which connected peers a round waits for.

A round waits for what can be expected, never for what was only promised. Patience bounds each wait, and what follows
bounds the number of waits:

    silent          silent for `AWAITED_ROUNDS` of our rounds: it has finished, is slow or is gone. One that never
                    announced anything counts from the round in which this peer met it.
    failing         its announcements could not be fetched, or were put off, `FAILED_FETCHES` times in a row.
    later           its newest announcement was put off, or belongs to the next round (`blobs/showing.py`).
    no partner      nothing of it is fetched in this round.
    compared        it holds another base, this peer learns nothing from its predictions, and it announced nothing for
                    this round. What it did announce is awaited until its predictions came, or the first fetch of them
                    failed. One whose predictions this peer distils is awaited as one of its own base is.
    in vain         without a seat, and a round waited for it to the end `VAIN_WAITS` times already; or for strangers of
                    its address group `VAIN_WAITS_OF_GROUP` times. Identities are free, so without the second a new one
                    could hold every round.

With a barrier a partner is awaited until it was silent for more than `max_age` rounds, as Wagner et al. (2024) do. A
round that asks nobody keeps the barrier, too: it waits until the connected peers have announced its own round.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from peers.core.config import CoreConfig
from peers.core.events import PeerId
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.connected.greetings import Greetings
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.partners import Partners
from wire.bounded import BoundedDict

AWAITED_ROUNDS: Final = 2
"""Rounds of our own during which a silent neighbour is still waited for. Guess."""
FAILED_FETCHES: Final = 2
"""Fetches from an author that must fail in a row before it is no longer waited for. Guess."""
VAIN_WAITS: Final = 2
"""Rounds that may wait in vain for one stranger. Guess: as for a silent neighbour."""
VAIN_WAITS_OF_GROUP: Final = 8
"""Rounds that may wait in vain for strangers of one address group: four devices behind one address that are all
slower than this one. Guess."""
MAX_VAIN: Final = 1_000
"""Peers, and address groups, whose vain waits are remembered; those longest ago are forgotten first."""


class Awaiting:
    def __init__(
        self,
        config: CoreConfig,
        *,
        connections: ConnectedPeers,
        inbox: Inbox,
        partners: Partners,
        greetings: Greetings,
    ) -> None:
        self._barrier = config.round.barrier
        self._confirms = config.confirms
        self._max_age = config.trust.max_age
        self._connections = connections
        self._inbox = inbox
        self._partners = partners
        self._greetings = greetings
        self._vain = BoundedDict[PeerId, int](MAX_VAIN)
        self._vain_of_group = BoundedDict[str, int](MAX_VAIN)

    def is_awaited(self, peer: PeerId) -> bool:
        """Whether this connected peer can be expected to announce something this round."""
        if peer in self._connections.scores.blocked or (self._vain and self._waited_enough(peer)):
            return False
        newest = self._inbox.newest_of(peer)
        if newest is None:
            rounds = self._max_age + 1 if self._barrier else AWAITED_ROUNDS
            return self._partners.in_step and self._greetings.met_within(peer, rounds)
        if self._barrier and not self._partners.merging:
            behind = newest.helpful and newest.announcement.round < self._partners.round
            return self._partners.in_step and behind and self._inbox.age(newest) <= self._max_age
        hopeful = (
            (newest.helpful or self._arrives(newest))
            and not newest.refused
            and newest.failures < FAILED_FETCHES
            and newest.delays < FAILED_FETCHES
            and not newest.put_off
            and newest.turn <= self._inbox.turns
            and peer in self._partners.chosen()
        )
        if self._barrier or not hopeful:
            return hopeful
        # A peer that ran ahead is due again when we have caught up with its round, not when its announcement has grown
        # old by our count.
        behind = self._inbox.staleness(newest, self._partners.round)
        return behind < AWAITED_ROUNDS and self._inbox.age(newest) <= self._max_age

    def waited_in_vain(self, peers: Collection[PeerId]) -> None:
        """Note a round whose patience ended while it waited for these peers."""
        strangers = [peer for peer in peers if not self._connections.seats.seated(peer)]
        for peer in strangers:
            self._vain.renew(peer, self._vain.get(peer, 0) + 1)
        for group in sorted({self._connections.group(peer) for peer in strangers} - {""}):
            self._vain_of_group.renew(group, self._vain_of_group.get(group, 0) + 1)

    def _arrives(self, newest: ReceivedAnnouncement) -> bool:
        """Whether predictions that are only compared, announced for this round, are on their way."""
        missing = newest.comparable and not newest.complete and not newest.failures
        return missing and self._inbox.is_current(newest, self._partners.round)

    def _waited_enough(self, peer: PeerId) -> bool:
        if self._barrier or not self._confirms or self._connections.seats.seated(peer):
            return False
        of_group = self._vain_of_group.get(self._connections.group(peer), 0)
        return self._vain.get(peer, 0) >= VAIN_WAITS or of_group >= VAIN_WAITS_OF_GROUP
