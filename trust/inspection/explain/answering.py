"""A case to the document that answers it: everything that is known, and what is not, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

from trust.inspection.explain.case import NEAR_ROUNDS, Case, recorded
from trust.inspection.explain.document import (
    Check,
    EvidenceShown,
    Explanation,
    LeaveOneOut,
    PeerShown,
    RefusalShown,
    RowShare,
    StrategyProposal,
    TextClaim,
    TriedCandidate,
    WeightChangeShown,
    WordAge,
)
from trust.inspection.explain.proposals import Proposal
from trust.inspection.explain.recomputing import TOLERANCE, Recomputed, recomputed
from trust.names import escaped
from trust.rows.priors import Counts, age_priors, token_shares
from trust.rows.rows import Row, TrustConfig, age_decay, chosen, evidence_of
from trust.rows.strategies import STRATEGIES

_NO_CAP = 1e9
_ABSENT = "it did not take part in this round"
_MOST_REFUSALS = 5


def explained(
    case: Case, made: Sequence[Proposal], *, losses: Mapping[Row, float], without: LeaveOneOut
) -> Explanation:
    """`made` are the proposals of all strategies, `losses` the trust losses of those rows that were measured."""
    again, record, begun, trust = recomputed(case), case.record, case.begun, case.trust
    near = [one for one in case.refusals if abs(one.round - record.round) <= NEAR_ROUNDS]
    return Explanation(
        round=record.round,
        peer=PeerShown(peer=escaped(case.member.peer), name=escaped(case.member.name)),
        neighbour=PeerShown(peer=escaped(case.other), name=escaped(case.other_name)),
        weight=case.weight,
        rank=_rank(case),
        row=_row(case),
        took_part=case.index is not None,
        its_round=case.seen.its_round if case.seen else None,
        last_met=_last_met(case),
        strategy=trust.strategy if trust else "",
        form=trust.form if trust else "",
        settings=asdict(case.settings) if case.settings else None,
        program=escaped(begun.program) if begun else "",
        evidence=_evidence(case),
        temperature=record.temperature,
        tried=_tried(case, again),
        trust_alone=record.trust_alone,
        trust_merged=record.trust_merged,
        age=_age(case, trust),
        text=_text(case, trust),
        guarded=begun.guarded if begun else True,
        guard=record.guard,
        halvings=again.halvings,
        absorbed=record.absorbed,
        refusals=tuple(
            RefusalShown(round=one.round, at_s=one.at_s, field=escaped(one.field), why=escaped(one.why))
            for one in near[-_MOST_REFUSALS:]
        ),
        refusals_in_all=len(case.refusals),
        history=_history(case),
        check=_check(case, again),
        strategies=tuple(_would_be(case, one, losses) for one in made),
        without=without,
    )


def _rank(case: Case) -> int | None:
    if case.own or case.index is None:
        return None
    return 1 + sum(one.weight > case.weight for one in case.record.seen)


def _row(case: Case) -> tuple[RowShare, ...]:
    own = RowShare(
        peer=escaped(case.member.peer), name=escaped(case.member.name), weight=case.record.self_weight
    )
    others = (
        RowShare(peer=escaped(one.peer), name=escaped(one.name), weight=one.weight)
        for one in case.record.seen
    )
    return (own, *others)


def _last_met(case: Case) -> int | None:
    if case.own or case.seen is not None:
        return None
    met = (
        number
        for number, record in case.member.rounds.items()
        if number < case.record.round and any(one.peer == case.other for one in record.seen)
    )
    return max(met, default=None)


def _evidence(case: Case) -> tuple[EvidenceShown, ...]:
    if case.seen is None or case.trust is None:
        return ()
    mine, own = recorded(case, case.seen)
    measures: list[EvidenceShown] = []
    for number, (kind, distance) in enumerate(zip(evidence_of(case.trust), mine, strict=False)):
        everybody = (recorded(case, one)[0] for one in case.record.seen)
        all_of = [distances[number].mean for distances in everybody if number < len(distances)]
        measures.append(
            EvidenceShown(
                kind=kind,
                distance=distance.mean,
                error=distance.error,
                own=own[number],
                rank=1 + sum(one < distance.mean for one in all_of),
                of=len(all_of),
                nearest=min(all_of),
                median=median(all_of),
                farthest=max(all_of),
            )
        )
    return tuple(measures)


def _tried(case: Case, again: Recomputed) -> tuple[TriedCandidate, ...]:
    record, index = case.record, case.index
    weights = {one.temperature: one.row[index] for one in again.candidates} if index is not None else {}
    return tuple(
        TriedCandidate(
            temperature=temperature,
            trust_loss=loss,
            weight=weights.get(temperature),
            chosen=record.guard in ("taken", "shrunk") and temperature == record.temperature,
        )
        for temperature, loss in record.tried
    )


def _age(case: Case, trust: TrustConfig | None) -> WordAge | None:
    if case.seen is None or trust is None or case.seen.age < 0:
        return None
    (factor,) = age_priors([case.seen.age], decay=age_decay(trust), max_age=trust.max_age)
    return WordAge(rounds=case.seen.age, factor=factor)


def _text(case: Case, trust: TrustConfig | None) -> TextClaim | None:
    """Only where it counts, and is known."""
    if case.index is None or trust is None or not trust.tokens_power or case.settings is None:
        return None
    if not STRATEGIES[trust.strategy].counts_text:
        return None
    neighbours = (case.neighbour(one, (), ()) for one in case.record.seen)
    counts = [case.me, *(Counts(one.tokens, one.samples) for one in neighbours)]
    try:
        claimed = token_shares(counts, alpha=case.alpha, cap=_NO_CAP)
        counted = token_shares(counts, alpha=case.alpha, cap=trust.tokens_cap)
    except ValueError:
        return None
    return TextClaim(
        tokens=counts[case.index].tokens,
        samples=counts[case.index].samples,
        claimed_share=claimed[case.index],
        share=counted[case.index],
        power=trust.tokens_power,
        cap=trust.tokens_cap,
    )


def _history(case: Case) -> tuple[WeightChangeShown, ...]:
    return tuple(
        WeightChangeShown(round=number, weight=_weight_in(case, number))
        for number in sorted(case.member.rounds)
    )


def _weight_in(case: Case, number: int) -> float | None:
    record = case.member.rounds[number]
    if case.own:
        return record.self_weight
    return next((one.weight for one in record.seen if one.peer == case.other), None)


def _check(case: Case, again: Recomputed) -> Check:
    if case.index is None:
        return Check(weight=None, difference=None, agrees=None, why=_ABSENT)
    if again.row is None:
        return Check(weight=None, difference=None, agrees=None, why=again.why)
    weight = again.row[case.index]
    difference = weight - case.weight
    return Check(weight=weight, difference=difference, agrees=abs(difference) <= TOLERANCE, why="")


def _would_be(case: Case, one: Proposal, losses: Mapping[Row, float]) -> StrategyProposal:
    if case.index is None or not one.candidates:
        why = one.why if case.index is not None else _ABSENT
        return StrategyProposal(strategy=one.strategy, form=one.form, in_use=one.in_use, why=why)
    weights = [candidate.row[case.index] for candidate in one.candidates]
    known = [losses.get(candidate.row, math.nan) for candidate in one.candidates]
    if one.in_use and not losses:
        tried = dict(case.record.tried)
        known = [tried.get(candidate.temperature, math.nan) for candidate in one.candidates]
    # Which of several would have been taken is known only where all of them were measured.
    best = chosen(one.candidates, known) if all(map(math.isfinite, known)) else None
    weight = weights[best] if best is not None else weights[0] if len(weights) == 1 else None
    return StrategyProposal(
        strategy=one.strategy,
        form=one.form,
        in_use=one.in_use,
        weight=weight,
        lowest=min(weights),
        highest=max(weights),
        trust_loss=None if best is None else known[best],
    )
