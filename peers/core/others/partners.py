"""Partners: the peers whose blobs are fetched. All in a small network, else the proven ones and some others.

All announcements are heard, because they are cheap; updates are not, so their number is bounded. Choosing only the
best would never find a new peer, and an attacker could surround this one, so some places are drawn by lot
(`standing/lots.py`).

A strategy with confirmed gains keeps the places of seated neighbours (`standing/seats.py`); one that takes everybody
keeps those with a weight in its last row. Where neighbours are not confirmed, a place goes to the largest weights, and
the lot is over identities: nothing proves anything there, and the published experiments were run so. Elsewhere only
authors within reach have places (`blobs/holders.py`).

Peers of other bases, of which only predictions are fetched, have places of their own, as many as the others. So
neither kind can crowd out the other. Those that taught in the last round come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from peers.core.config import CoreConfig
from peers.core.events import PeerId
from peers.core.others.blobs.holders import Holders
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.standing.lots import Candidate, drawn, most_of_one_group
from trust.rows.config import strategy_of
from wire.digest import digest_of


class Partners:
    """The partners of the present round, drawn when they are first asked for and again after what may alter them."""

    def __init__(
        self, config: CoreConfig, me: PeerId, connections: ConnectedPeers, inbox: Inbox, holders: Holders
    ) -> None:
        self._config = config
        self._me = me
        self._connections = connections
        self._inbox = inbox
        self._holders = holders
        self._merges = strategy_of(config.trust).merges
        self._by_seats = not strategy_of(config.trust).takes_everybody
        self._round = 0
        self._resting = False
        self._seeks = True
        self._newcomer = False
        self._chosen: frozenset[PeerId] | None = None
        self._groups = Counter[str]()
        """How many candidates of each group took part in the last draw."""
        self._foreign = 0
        """How many of the chosen hold another base."""
        self._taught: Mapping[PeerId, float] = {}
        self.weights: Mapping[PeerId, float] = {}
        """Each neighbour's weight in the last round's row."""

    @property
    def round(self) -> int:
        return self._round

    @property
    def merging(self) -> bool:
        """Whether this round merges, so that updates are worth fetching: not before the warm-up is over, and not while
        this peer asks nobody."""
        return self._seeks and self.merging_in(self._round)

    @property
    def in_step(self) -> bool:
        """Whether this round waits for anybody: where it merges, and with a barrier where it asks nobody, too."""
        return self.merging or (self._config.round.barrier and self.merging_in(self._round))

    def merging_in(self, round_: int) -> bool:
        return self._merges and not self._resting and round_ >= self._config.round.warmup_rounds

    def chosen(self) -> frozenset[PeerId]:
        """Authors lately heard whose blobs are fetched in this round."""
        if self._chosen is None:
            self._chosen = self._drawn() | self._drawn_foreign() if self.merging else frozenset()
        return self._chosen

    def begin(
        self, round_: int, weights: Mapping[PeerId, float], taught: Mapping[PeerId, float] | None = None
    ) -> None:
        """A round begins after one that ended with these weights, in the row that was merged and in that which was
        distilled: partners are drawn again."""
        self._round, self.weights, self._taught = round_, weights, taught or {}
        self._chosen = None

    def at_least(self, round_: int) -> None:
        """This peer is in round `round_`, or in a later one."""
        before = self.merging
        self._round = max(self._round, round_)
        if self.merging != before:
            self._chosen = None

    def seek(self, seeks: bool) -> None:
        """Whether this round asks anybody for help."""
        if seeks != self._seeks:
            self._seeks, self._chosen = seeks, None

    def take_newcomer(self) -> bool:
        """Whether an author was heard for the first time since the last call."""
        newcomer, self._newcomer = self._newcomer, False
        return newcomer

    def rest(self) -> None:
        """Choose no partners until `wake`: this peer merges nothing."""
        self._resting = True
        self._chosen = None

    def wake(self) -> None:
        if self._resting:
            self._resting = False
            self._chosen = None

    def heard(self, entry: ReceivedAnnouncement, *, new: bool) -> None:
        """An announcement came. A new author may get a place, unless its group has all the places that it can have:
        those are drawn again in the next round, so that a flood from one group costs no draws."""
        self._newcomer |= new and entry.mergeable
        if self._chosen is None or entry.author in self._chosen:
            return
        if entry.relation != "merges":
            # Where all places are taken, they are drawn again in the next round.
            if entry.comparable and self._foreign < self._config.round.most_partners:
                self._chosen = None
            return
        group, most = self._group_of(entry), self._config.round.most_partners
        by_lot = self._config.confirms and self._groups.total() > most
        if by_lot and len(self._groups) > 1 and self._groups[group] >= most_of_one_group(most):
            return
        self._chosen = None

    def removed(self) -> None:
        """An author was removed from the inbox."""
        self._chosen = None

    def _drawn(self) -> frozenset[PeerId]:
        entries = [one for one in self._inbox.lately(self._config.trust.max_age) if one.mergeable]
        rounds = self._config.round
        if not self._config.confirms:
            weights = {one.author: self.weights.get(one.author, 0.0) for one in entries}
            return heaviest(
                weights, me=self._me, round_=self._round, most=rounds.most_partners, explore=rounds.explore
            )
        reached = self._holders.within_reach(entries)
        if len(reached) <= rounds.most_partners:
            self._groups.clear()
            return frozenset(one.author for one in reached)
        candidates = self._candidates(reached)
        self._groups = Counter(one.group for one in candidates)
        return drawn(
            candidates, me=self._me, round_=self._round, most=rounds.most_partners, explore=rounds.explore
        )

    def _drawn_foreign(self) -> frozenset[PeerId]:
        lately = self._inbox.lately(self._config.trust.max_age)
        entries = self._holders.within_reach(one for one in lately if one.comparable)
        rounds = self._config.round
        chosen = drawn(
            [
                Candidate(
                    author=one.author,
                    rank=(0.0, taught) if (taught := self._taught.get(one.author, 0.0)) > 0 else None,
                    connected=one.author in self._connections.peers,
                    group=self._group_of(one),
                    content=_predictions(one),
                    arrived=one.arrived,
                )
                for one in entries
            ],
            me=self._me,
            round_=self._round,
            most=rounds.most_partners,
            explore=rounds.explore,
        )
        self._foreign = len(chosen)
        return chosen

    def _candidates(self, entries: Sequence[ReceivedAnnouncement]) -> list[Candidate]:
        return [
            Candidate(
                author=one.author,
                rank=self._rank(one.author),
                connected=one.author in self._connections.peers,
                group=self._group_of(one),
                content=one.announcement.update.digest,
                arrived=one.arrived,
            )
            for one in entries
        ]

    def _rank(self, author: PeerId) -> tuple[float, float] | None:
        seats, weight = self._connections.seats, self.weights.get(author, 0.0)
        if self._by_seats:
            return (seats.level(author), weight) if seats.seated(author) else None
        return (0.0, weight) if weight > 0 else None

    def _group_of(self, entry: ReceivedAnnouncement) -> str:
        connected = entry.author in self._connections.peers
        return self._connections.group(entry.author) if connected else entry.group


def _predictions(entry: ReceivedAnnouncement) -> bytes:
    """The digest of the predictions that are fetched of a peer of another base."""
    (ref,) = entry.refs.values()
    return ref.digest


def heaviest(
    weights: Mapping[PeerId, float], *, me: PeerId, round_: int, most: int, explore: int
) -> frozenset[PeerId]:
    """At most `most` of the authors in `weights` (author -> its last weight in our row, 0 if none).

    `most - explore` go to the largest weights, the rest by a lot over identities.
    """
    if len(weights) <= most:
        return frozenset(weights)

    def lot(peer: PeerId) -> bytes:
        return digest_of(f"{me}\0{peer}\0{round_}".encode())

    by_weight = sorted(weights, key=lambda peer: (-weights[peer], lot(peer)))
    best = by_weight[: most - explore]
    others = sorted(by_weight[most - explore :], key=lot)
    return frozenset(best) | frozenset(others[:explore])
