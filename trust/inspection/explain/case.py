"""Finds the records behind one weight: the peer, the neighbour, the round and the settings of the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from trust.errors import UserMistake
from trust.inspection.reading.files import HistoryRun, find_peer
from trust.inspection.reading.summary import rounds_text
from trust.names import escaped
from trust.record.history import Begun, Entry, PeerName, Refusal, Round, Seen
from trust.record.matrix import PeerRounds
from trust.rows.evidence import Distance
from trust.rows.rows import Counts, Neighbour, TrustConfig, evidence_of

NEAR_ROUNDS = 2
"""Rounds before and after the explained round whose refusals are shown. Guess."""


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """Something from the neighbour that the peer refused while it worked on `round`, at Unix time `at_s`."""

    round: int
    at_s: float
    field: str
    why: str


@dataclass(frozen=True)
class Case:
    """One weight to explain, with the records that belong to it.

    `other` is the peer itself where its own weight is asked for. `seen` is None for the peer itself, and for a
    neighbour that did not take part in this round. `record` holds the neighbours that a row could be over; one that
    holds another base is in `foreign`, where it is the one that is asked about.
    `begun` is None where that record is lost.

    `settings` is None where an earlier version of the program did not record them. `assumed` is then the default
    settings with the recorded strategy, or None where these do not fit the recorded distances.
    """

    member: PeerRounds
    other: PeerName
    other_name: str
    record: Round
    begun: Begun | None
    settings: TrustConfig | None
    assumed: TrustConfig | None
    refusals: tuple[RefusedItem, ...]
    foreign: Seen | None = None
    across: tuple[Seen, ...] = ()
    """All neighbours of the round that were compared by byte rows."""

    @property
    def own(self) -> bool:
        return self.other == self.member.peer

    @cached_property
    def seen(self) -> Seen | None:
        return next((seen for seen in self.record.seen if seen.peer == self.other), None)

    @property
    def index(self) -> int | None:
        """Index of the explained weight in the row, 0 for the peer's own; None for a neighbour outside of the row."""
        if self.own:
            return 0
        return None if self.seen is None else self.record.seen.index(self.seen) + 1

    @property
    def row(self) -> tuple[float, ...]:
        """The row that was used, with the peer's own weight first."""
        return (self.record.self_weight, *(seen.weight for seen in self.record.seen))

    @property
    def weight(self) -> float:
        return 0.0 if self.index is None else self.row[self.index]

    @property
    def trust(self) -> TrustConfig | None:
        """The recorded settings, otherwise the assumed ones."""
        return self.settings or self.assumed

    @property
    def me(self) -> Counts:
        """Size of this peer's own text, by the count that the setting `tokens_count` names."""
        if self.trust is not None and self.trust.tokens_count == "total":
            return Counts(self.record.tokens_total, self.record.samples_total)
        return Counts(self.record.tokens, self.record.samples)

    @property
    def alpha(self) -> float:
        return self.begun.alpha if self.begun else 1.0

    def neighbour(self, seen: Seen, distances: Sequence[Distance], own: Sequence[float]) -> Neighbour:
        """The neighbour `seen` as an input of a row, with the given distances and own measures."""
        total = self.trust is not None and self.trust.tokens_count == "total"
        return Neighbour(
            seen.peer,
            seen.name,
            tuple(distances),
            tuple(own),
            seen.age,
            tokens=seen.tokens_total if total else seen.tokens,
            samples=seen.samples_total if total else seen.samples,
            round=self.record.round,
        )


def case_of(run: HistoryRun, peer: str, other: str, at_round: int | None) -> Case:
    """The case of the weight that `peer` gave `other` in round `at_round`, or in its latest round.

    Raises `UserMistake` for unknown peers, for two that never met, and for a round that was not recorded.
    """
    member = _learner(run, peer)
    met = {seen.peer: seen.name for record in member.rounds.values() for seen in record.seen}
    known_peers = [(peer_id, met.get(peer_id, name)) for peer_id, name in _peers(run)]
    neighbour = find_peer(other, known_peers)
    name = member.name or member.peer
    if neighbour != member.peer and neighbour not in met:
        known = ", ".join(escaped(met[peer_id] or peer_id) for peer_id in list(met)[:20]) or "nobody"
        raise UserMistake(
            f"{escaped(name)} never took {escaped(other)} into a round, so there is nothing to explain; it took {known}"
        )
    record = member.at(at_round)
    if record is None:
        raise UserMistake(f"{escaped(name)} recorded no round {at_round}; there are {rounds_text([member])}")
    entries = list(run.entries_of(member.peer))
    begun = _begun(entries, record)
    settings = _settings(begun)
    foreign = [seen for seen in record.seen if seen.relation != "merges"]
    kin = tuple(seen for seen in record.seen if seen.relation == "merges")
    return Case(
        member=member,
        other=neighbour,
        other_name=dict(known_peers).get(neighbour, ""),
        record=msgspec.structs.replace(record, seen=kin) if foreign else record,
        begun=begun,
        settings=settings,
        assumed=None if settings else _assumed(begun, record),
        refusals=_refusals(entries, neighbour),
        foreign=next((seen for seen in foreign if seen.peer == neighbour), None),
        across=tuple(seen for seen in foreign if seen.by_bytes),
    )


def recorded(case: Case, seen: Seen) -> tuple[tuple[Distance, ...], tuple[float, ...]]:
    """The recorded distances of a neighbour, by the strategy's kinds of evidence, and the same measures of the peer
    itself. Both are empty where no settings are known."""
    if case.trust is None or seen.relation == "apart":
        return (), ()
    kinds = evidence_of(case.trust)
    means = seen.distances or (seen.distance,)
    errors = seen.errors or (seen.error, *(0.0 for _ in means[1:]))
    pairs = zip(means[: len(kinds)], errors, strict=False)
    return tuple(Distance(*pair) for pair in pairs), seen.own or (0.0,) * len(kinds)


def _peers(run: HistoryRun) -> list[tuple[PeerName, str]]:
    """(id, name) of every peer in the records: the name that it gives itself, otherwise the one that others give it."""
    names = {
        seen.peer: seen.name
        for member in run.members
        for record in member.rounds.values()
        for seen in record.seen
    }
    return list((names | {member.peer: member.name for member in run.members}).items())


def _learner(run: HistoryRun, peer: str) -> PeerRounds:
    peer_id = find_peer(peer, _peers(run))
    member = next((member for member in run.members if member.peer == peer_id and member.rounds), None)
    if member is None:
        wrote = ", ".join(escaped(member.name or member.peer) for member in run.members if member.rounds)
        raise UserMistake(
            f"{escaped(peer)} recorded no round in {run.path}, only others speak of it; there are records of {wrote}"
        )
    return member


def _begun(entries: Sequence[Entry], record: Round) -> Begun | None:
    """The `Begun` record of the process that wrote `record`."""
    begun: Begun | None = None
    for entry in entries:
        if entry.record is record:
            break
        if isinstance(entry.record, Begun):
            begun = entry.record
    return begun


def _settings(begun: Begun | None) -> TrustConfig | None:
    if begun is None or not begun.trust:
        return None
    try:
        return msgspec.json.decode(begun.trust, type=TrustConfig)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Written by a version whose settings allowed other values.
        return None


def _assumed(begun: Begun | None, record: Round) -> TrustConfig | None:
    if begun is None:
        return None
    strategy, _, form = begun.strategy.partition(" ")
    try:
        trust = msgspec.convert({"strategy": strategy, "form": form or "ours"}, TrustConfig)
    except msgspec.ValidationError:
        return None
    kinds = len(evidence_of(trust))
    fits = all(len(seen.distances or (seen.distance,)) == max(kinds, 1) for seen in record.seen)
    return trust if fits else None


def _refusals(entries: Sequence[Entry], about: PeerName) -> tuple[RefusedItem, ...]:
    """All refusals of things from `about`, in the order in which they were written."""
    refusals: list[RefusedItem] = []
    current_round = 0
    for entry in entries:
        match entry.record:
            case Begun():
                current_round = entry.record.round
            case Round():
                current_round = entry.record.round + 1
            case Refusal() if entry.record.about == about:
                refusal = entry.record
                refusals.append(RefusedItem(current_round, entry.at_s, refusal.field, refusal.why))
            case _:
                """A refusal about another neighbour, or a note."""
    return tuple(refusals)
