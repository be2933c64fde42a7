"""What the records say of one weight: who gave it whom in which round, and by which settings."""

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
"""Rounds before and after the one asked for from which refusals are told. Guess."""


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """Something of the neighbour's that was not taken while `round` was made, at Unix time `at_s`."""

    round: int
    at_s: float
    field: str
    why: str


@dataclass(frozen=True)
class Case:
    """`other` is the peer itself where its own weight is asked for. `seen` is None for the peer itself, and for a
    neighbour that did not take part in this round. `begun` is None where its record is lost.

    `settings` are None where they can only be guessed: an earlier version did not record them. `assumed` then are
    the defaults with the strategy that was recorded, None where not even that fits.
    """

    member: PeerRounds
    other: PeerName
    other_name: str
    record: Round
    begun: Begun | None
    settings: TrustConfig | None
    assumed: TrustConfig | None
    refusals: tuple[RefusedItem, ...]

    @property
    def own(self) -> bool:
        return self.other == self.member.peer

    @cached_property
    def seen(self) -> Seen | None:
        return next((one for one in self.record.seen if one.peer == self.other), None)

    @property
    def index(self) -> int | None:
        """The entry of the row that is asked for, 0 for the peer's own; None where it has none."""
        if self.own:
            return 0
        return None if self.seen is None else self.record.seen.index(self.seen) + 1

    @property
    def row(self) -> tuple[float, ...]:
        """As it was used, the peer's own weight first."""
        return (self.record.self_weight, *(one.weight for one in self.record.seen))

    @property
    def weight(self) -> float:
        return 0.0 if self.index is None else self.row[self.index]

    @property
    def trust(self) -> TrustConfig | None:
        """The settings, or else what is assumed."""
        return self.settings or self.assumed

    @property
    def me(self) -> Counts:
        """This peer's own text, by the count that `tokens_count` names."""
        if self.trust is not None and self.trust.tokens_count == "total":
            return Counts(self.record.tokens_total, self.record.samples_total)
        return Counts(self.record.tokens, self.record.samples)

    @property
    def alpha(self) -> float:
        return self.begun.alpha if self.begun else 1.0

    def neighbour(self, one: Seen, distances: Sequence[Distance], own: Sequence[float]) -> Neighbour:
        """What of it counts for a row, with these distances."""
        total = self.trust is not None and self.trust.tokens_count == "total"
        return Neighbour(
            one.peer,
            one.name,
            tuple(distances),
            tuple(own),
            one.age,
            tokens=one.tokens_total if total else one.tokens,
            samples=one.samples_total if total else one.samples,
        )


def case_of(run: HistoryRun, peer: str, other: str, at_round: int | None) -> Case:
    """Raises `UserMistake` for peers that nobody knows or that never met, and for a round that is not there."""
    member = _learner(run, peer)
    met = {one.peer: one.name for record in member.rounds.values() for one in record.seen}
    there = [(who, met.get(who, name)) for who, name in _peers(run)]
    who = find_peer(other, there)
    name = member.name or member.peer
    if who != member.peer and who not in met:
        known = ", ".join(escaped(met[one] or one) for one in list(met)[:20]) or "nobody"
        raise UserMistake(
            f"{escaped(name)} never took {escaped(other)} into a round, so there is nothing to explain; it took {known}"
        )
    record = member.at(at_round)
    if record is None:
        raise UserMistake(f"{escaped(name)} recorded no round {at_round}; there are {rounds_text([member])}")
    entries = list(run.entries_of(member.peer))
    begun = _begun(entries, record)
    settings = _settings(begun)
    return Case(
        member=member,
        other=who,
        other_name=dict(there).get(who, ""),
        record=record,
        begun=begun,
        settings=settings,
        assumed=None if settings else _assumed(begun, record),
        refusals=_refusals(entries, who),
    )


def recorded(case: Case, one: Seen) -> tuple[tuple[Distance, ...], tuple[float, ...]]:
    """Its distances by the kinds of evidence of the strategy, and the same measures of the peer itself; of no kind
    where the settings are not known at all."""
    if case.trust is None:
        return (), ()
    kinds = evidence_of(case.trust)
    means = one.distances or (one.distance,)
    errors = one.errors or (one.error, *(0.0 for _ in means[1:]))
    pairs = zip(means[: len(kinds)], errors, strict=False)
    return tuple(Distance(*pair) for pair in pairs), one.own or (0.0,) * len(kinds)


def _peers(run: HistoryRun) -> list[tuple[PeerName, str]]:
    """Everybody who wrote or is written of, by the name that it gives itself, else that others give it."""
    names = {
        one.peer: one.name
        for member in run.members
        for record in member.rounds.values()
        for one in record.seen
    }
    return list((names | {member.peer: member.name for member in run.members}).items())


def _learner(run: HistoryRun, peer: str) -> PeerRounds:
    who = find_peer(peer, _peers(run))
    member = next((one for one in run.members if one.peer == who and one.rounds), None)
    if member is None:
        wrote = ", ".join(escaped(one.name or one.peer) for one in run.members if one.rounds)
        raise UserMistake(
            f"{escaped(peer)} recorded no round in {run.path}, only others speak of it; there are records of {wrote}"
        )
    return member


def _begun(entries: Sequence[Entry], record: Round) -> Begun | None:
    """The start of the process that wrote this record."""
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
        # Of a version that allowed more.
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
    fits = all(len(one.distances or (one.distance,)) == max(kinds, 1) for one in record.seen)
    return trust if fits else None


def _refusals(entries: Sequence[Entry], about: PeerName) -> tuple[RefusedItem, ...]:
    """All of this neighbour's, in the order in which they were written."""
    refusals: list[RefusedItem] = []
    making = 0
    for entry in entries:
        match entry.record:
            case Begun():
                making = entry.record.round
            case Round():
                making = entry.record.round + 1
            case Refusal() if entry.record.about == about:
                one = entry.record
                refusals.append(RefusedItem(making, entry.at_s, one.field, one.why))
            case _:
                """About somebody else, or nobody."""
    return tuple(refusals)
