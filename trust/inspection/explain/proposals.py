"""Rows that each strategy would propose for the neighbours of a recorded round, where the evidence that it needs was
recorded or is measured now.

Rows are as the strategy proposes them, before the guard: entry 0 is the peer's own weight, then come the neighbours in
the order of the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from trust.inspection.explain.case import Case, recorded
from trust.record.history import PeerName, Seen
from trust.rows.evidence import Distance
from trust.rows.rows import (
    Candidate,
    Counts,
    Evidence,
    Form,
    Neighbour,
    Row,
    TrustConfig,
    candidate_rows,
    evidence_of,
    starting_row,
    token_weighted,
)
from trust.rows.strategies import STRATEGIES

NOT_MEASURED: Final = "not measured in this round"


@dataclass(frozen=True, slots=True)
class MeasuredCandidates:
    """Evidence that was measured after the round.

    `distances` are by neighbour and kind, `own` are the peer's own measures by kind. `missing` gives the reason why a
    kind could not be measured. `learned` is a row that was learned afterwards.
    """

    distances: Mapping[PeerName, Mapping[Evidence, Distance]] = field(
        default_factory=dict[PeerName, Mapping[Evidence, Distance]]
    )
    own: Mapping[Evidence, float] = field(default_factory=dict[Evidence, float])
    missing: Mapping[Evidence, str] = field(default_factory=dict[Evidence, str])
    learned: Row | None = None


NOTHING: Final = MeasuredCandidates()


@dataclass(frozen=True, slots=True)
class Proposal:
    """The candidate rows of one strategy; empty where `why` says what is missing. `in_use`: the peer used it."""

    strategy: str
    form: Form
    in_use: bool
    candidates: tuple[Candidate, ...]
    why: str = ""


def proposals(case: Case, measured: MeasuredCandidates = NOTHING) -> tuple[Proposal, ...]:
    """The proposals of all strategies, in a fixed order.

    Empty where the settings are not known, where no neighbour took part, and where shares were pushed (`absorbed`).
    """
    if case.trust is None or not case.record.seen or case.record.absorbed:
        return ()
    return tuple(
        _proposal(case, case.trust, *strategy_and_form, measured)
        for strategy_and_form in _strategies_and_forms()
    )


def beginning(case: Case) -> Row:
    """The row from which the strategy `learned` would start in this round: that of the round before."""
    last = case.member.rounds.get(case.record.round - 1)
    previous = {seen.peer: seen.weight for seen in last.seen} if last else {}
    return starting_row(previous, [case.neighbour(seen, (), ()) for seen in case.record.seen])


def rows_of(proposals: Sequence[Proposal]) -> tuple[Row, ...]:
    """All distinct candidate rows of the proposals."""
    return tuple(dict.fromkeys(candidate.row for proposal in proposals for candidate in proposal.candidates))


def without_entry(row: Row, index: int) -> tuple[Row, Row]:
    """Two rows without the neighbour at `index` (1 or more): its weight kept by the peer itself, and its weight spread
    over the other neighbours in proportion (kept by the peer too where these have none)."""
    kept = [0.0 if k == index else weight for k, weight in enumerate(row)]
    home = (kept[0] + row[index], *kept[1:])
    others = sum(kept[1:])
    if not others:
        return home, home
    return home, (kept[0], *(weight * (others + row[index]) / others for weight in kept[1:]))


def _strategies_and_forms() -> list[tuple[str, Form]]:
    """(strategy, form): all strategies in our form, then the published forms of those that have some."""
    ours: list[tuple[str, Form]] = [(name, "ours") for name in STRATEGIES]
    return ours + [(name, form) for name, strategy in STRATEGIES.items() for form in strategy.published]


def _proposal(
    case: Case, trust: TrustConfig, strategy: str, form: Form, measured: MeasuredCandidates
) -> Proposal:
    in_use = (strategy, form) == (trust.strategy, trust.form)
    if STRATEGIES[strategy].fitted:
        return _learned(case, trust, strategy, measured, in_use=in_use)
    if obstacle := STRATEGIES[strategy].obstacle(trust):
        return Proposal(strategy, form, in_use, (), obstacle)
    config = replace(trust, strategy=strategy, form=form)
    kinds = evidence_of(config)
    neighbours_seen = case.record.seen
    missing: list[Evidence] = [
        kind
        for kind in kinds
        if any(_measure(case, trust, seen, kind, measured) is None for seen in neighbours_seen)
    ]
    if missing:
        return Proposal(strategy, form, in_use, (), measured.missing.get(missing[0], NOT_MEASURED))
    neighbours: list[Neighbour] = []
    for seen in neighbours_seen:
        pairs = [pair for kind in kinds if (pair := _measure(case, trust, seen, kind, measured)) is not None]
        neighbours.append(case.neighbour(seen, [pair[0] for pair in pairs], [pair[1] for pair in pairs]))
    try:
        rows = candidate_rows(config, neighbours, case.me, alpha=case.alpha)
    except ValueError as error:
        return Proposal(strategy, form, in_use, (), f"what was measured makes no row: {error}")
    return Proposal(strategy, form, in_use, rows)


def _learned(
    case: Case, trust: TrustConfig, strategy: str, measured: MeasuredCandidates, *, in_use: bool
) -> Proposal:
    """The proposal of a strategy that learns its row: the recorded row if the guard took it unchanged, otherwise the
    row that was learned afterwards."""
    if in_use and case.record.guard == "taken":
        return Proposal(strategy, "ours", in_use, (Candidate(None, case.row),))
    if measured.learned is None:
        why = "only what the guard made of the row was recorded" if in_use else NOT_MEASURED
        return Proposal(strategy, "ours", in_use, (), why)
    neighbours = (case.neighbour(seen, (), ()) for seen in case.record.seen)
    counts = [case.me, *(Counts(neighbour.tokens, neighbour.samples) for neighbour in neighbours)]
    row = token_weighted(measured.learned, counts, trust, alpha=case.alpha)
    return Proposal(strategy, "ours", in_use, (Candidate(None, row),))


def _measure(
    case: Case, trust: TrustConfig, seen: Seen, kind: Evidence, measured: MeasuredCandidates
) -> tuple[Distance, float] | None:
    """(distance, own measure) of one kind of evidence: as recorded, otherwise as measured now; None where unknown."""
    distances, own = recorded(case, seen)
    for recorded_kind, distance, own_measure in zip(evidence_of(trust), distances, own, strict=False):
        if recorded_kind == kind:
            return distance, own_measure
    distance = measured.distances.get(seen.peer, {}).get(kind)
    return None if distance is None else (distance, measured.own.get(kind, 0.0))
