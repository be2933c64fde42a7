"""What the same neighbours would be worth by each strategy, where what it needs was recorded or is measured now.

Rows here are as the strategy proposes them, before the guard: entry 0 the peer's own, then the neighbours in the
order of the record.
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
    """Distances that were measured afterwards, by neighbour and kind, and the peer's own measures by kind. `missing`
    says of a kind why it could not be measured; `learned` is a row that was learned afterwards."""

    distances: Mapping[PeerName, Mapping[Evidence, Distance]] = field(
        default_factory=dict[PeerName, Mapping[Evidence, Distance]]
    )
    own: Mapping[Evidence, float] = field(default_factory=dict[Evidence, float])
    missing: Mapping[Evidence, str] = field(default_factory=dict[Evidence, str])
    learned: Row | None = None


NOTHING: Final = MeasuredCandidates()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A strategy's candidates, none where `why` says what is missing. `in_use` marks the one that was used."""

    strategy: str
    form: Form
    in_use: bool
    candidates: tuple[Candidate, ...]
    why: str = ""


def proposals(case: Case, measured: MeasuredCandidates = NOTHING) -> tuple[Proposal, ...]:
    """One for each strategy, in a fixed order; none at all where nothing is known of the settings, or nobody was
    weighed."""
    if case.trust is None or not case.record.seen or case.record.absorbed:
        return ()
    return tuple(_proposal(case, case.trust, *which, measured) for which in _strategies_and_forms())


def beginning(case: Case) -> Row:
    """Where a learned row of this round would begin."""
    last = case.member.rounds.get(case.record.round - 1)
    previous = {one.peer: one.weight for one in last.seen} if last else {}
    return starting_row(previous, [case.neighbour(one, (), ()) for one in case.record.seen])


def rows_of(made: Sequence[Proposal]) -> tuple[Row, ...]:
    """All different ones."""
    return tuple(dict.fromkeys(candidate.row for one in made for candidate in one.candidates))


def without_entry(row: Row, index: int) -> tuple[Row, Row]:
    """The row without its entry `index`, 1 or more: with its weight kept at home, and spread over the other neighbours
    in proportion (kept at home too where they have none)."""
    kept = [0.0 if k == index else weight for k, weight in enumerate(row)]
    home = (kept[0] + row[index], *kept[1:])
    others = sum(kept[1:])
    if not others:
        return home, home
    return home, (kept[0], *(weight * (others + row[index]) / others for weight in kept[1:]))


def _strategies_and_forms() -> list[tuple[str, Form]]:
    """All strategies in our form, then the published forms."""
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
    seen = case.record.seen
    missing: list[Evidence] = [
        kind for kind in kinds if any(_measure(case, one, kind, measured) is None for one in seen)
    ]
    if missing:
        return Proposal(strategy, form, in_use, (), measured.missing.get(missing[0], NOT_MEASURED))
    neighbours: list[Neighbour] = []
    for one in seen:
        pairs = [pair for kind in kinds if (pair := _measure(case, one, kind, measured)) is not None]
        neighbours.append(case.neighbour(one, [pair[0] for pair in pairs], [pair[1] for pair in pairs]))
    try:
        rows = candidate_rows(config, neighbours, case.me, alpha=case.alpha)
    except ValueError as error:
        return Proposal(strategy, form, in_use, (), f"what was measured makes no row: {error}")
    return Proposal(strategy, form, in_use, rows)


def _learned(
    case: Case, trust: TrustConfig, strategy: str, measured: MeasuredCandidates, *, in_use: bool
) -> Proposal:
    """The row that was used, where it was the learned one as it is, else the one that was learned afterwards."""
    if in_use and case.record.guard == "taken":
        return Proposal(strategy, "ours", in_use, (Candidate(None, case.row),))
    if measured.learned is None:
        why = "only what the guard made of the row was recorded" if in_use else NOT_MEASURED
        return Proposal(strategy, "ours", in_use, (), why)
    neighbours = (case.neighbour(one, (), ()) for one in case.record.seen)
    counts = [case.me, *(Counts(one.tokens, one.samples) for one in neighbours)]
    row = token_weighted(measured.learned, counts, trust, alpha=case.alpha)
    return Proposal(strategy, "ours", in_use, (Candidate(None, row),))


def _measure(
    case: Case, one: Seen, kind: Evidence, measured: MeasuredCandidates
) -> tuple[Distance, float] | None:
    """What was recorded then, else what was measured now."""
    assert case.trust is not None, "asked where the settings are known"
    distances, own = recorded(case, one)
    for held, distance, of_own in zip(evidence_of(case.trust), distances, own, strict=False):
        if held == kind:
            return distance, of_own
    distance = measured.distances.get(one.peer, {}).get(kind)
    return None if distance is None else (distance, measured.own.get(kind, 0.0))
