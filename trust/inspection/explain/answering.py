"""Builds the `Explanation` of a case: what the records say, and for what is unknown the reason why."""

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
from trust.inspection.explain.recomputing import TOLERANCE, Recomputed, certainty_of, recomputed
from trust.inspection.explain.trials import course, left_out, shared_weights, trial, weight_steps
from trust.names import escaped
from trust.rows.priors import Counts, age_priors, token_shares
from trust.rows.rows import Row, TrustConfig, age_decay, chosen, evidence_of
from trust.rows.strategies import STRATEGIES

_NO_CAP = 1e9
"""A cap, in medians of the text, that is too high to have an effect."""
_ABSENT = "it did not take part in this round"
_MOST_REFUSALS = 5


def explained(
    case: Case, proposals: Sequence[Proposal], *, losses: Mapping[Row, float], without: LeaveOneOut
) -> Explanation:
    """The document that explains one weight.

    `proposals` are those of all strategies, `losses` the trust losses of rows that were measured afterwards, `without`
    the trust loss without the neighbour.
    """
    again, record, begun, trust = recomputed(case), case.record, case.begun, case.trust
    seen = case.seen or case.foreign
    near = [refusal for refusal in case.refusals if abs(refusal.round - record.round) <= NEAR_ROUNDS]
    return Explanation(
        round=record.round,
        peer=PeerShown(peer=escaped(case.member.peer), name=escaped(case.member.name)),
        neighbour=PeerShown(peer=escaped(case.other), name=escaped(case.other_name)),
        weight=case.weight,
        rank=_rank(case),
        row=_row(case),
        took_part=case.index is not None,
        its_round=seen.its_round if seen else None,
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
            RefusalShown(
                round=refusal.round, at_s=refusal.at_s, field=escaped(refusal.field), why=escaped(refusal.why)
            )
            for refusal in near[-_MOST_REFUSALS:]
        ),
        refusals_in_all=len(case.refusals),
        history=_history(case),
        check=_check(case, again),
        strategies=tuple(_strategy_proposal(case, proposal, losses) for proposal in proposals),
        without=without,
        trial=trial(case),
        left_out=left_out(case),
        shared=shared_weights(case),
        steps=weight_steps(case, again),
        course=course(case),
        discarded=record.discarded,
        judged=record.judged,
        judged_error=record.judged_error,
        certainty=certainty_of(case),
        fruitless=record.fruitless,
        asks_in=record.asks_in,
        distilled=record.distilled,
        relation=seen.relation if seen else None,
        teaches=seen.teaches if seen else None,
        by_bytes=seen.by_bytes if seen else False,
    )


def _rank(case: Case) -> int | None:
    if case.own or case.index is None:
        return None
    return 1 + sum(seen.weight > case.weight for seen in case.record.seen)


def _row(case: Case) -> tuple[RowShare, ...]:
    own = RowShare(
        peer=escaped(case.member.peer), name=escaped(case.member.name), weight=case.record.self_weight
    )
    others = (
        RowShare(peer=escaped(seen.peer), name=escaped(seen.name), weight=seen.weight)
        for seen in case.record.seen
    )
    return (own, *others)


def _last_met(case: Case) -> int | None:
    if case.own or case.seen is not None or case.foreign is not None:
        return None
    met = (
        number
        for number, record in case.member.rounds.items()
        if number < case.record.round and any(seen.peer == case.other for seen in record.seen)
    )
    return max(met, default=None)


def _evidence(case: Case) -> tuple[EvidenceShown, ...]:
    about = case.seen or case.foreign
    if about is None or case.trust is None:
        return ()
    distances, own = recorded(case, about)
    # Distances of byte rows have a scale of their own.
    kin = case.across if about.by_bytes else (*case.record.seen, *([case.foreign] if case.foreign else []))
    measures: list[EvidenceShown] = []
    for number, (kind, distance) in enumerate(zip(evidence_of(case.trust), distances, strict=False)):
        all_distances = (recorded(case, seen)[0] for seen in kin)
        means = [of_neighbour[number].mean for of_neighbour in all_distances if number < len(of_neighbour)]
        measures.append(
            EvidenceShown(
                kind=kind,
                distance=distance.mean,
                error=distance.error,
                own=own[number],
                rank=1 + sum(mean < distance.mean for mean in means),
                of=len(means),
                nearest=min(means),
                median=median(means),
                farthest=max(means),
            )
        )
    return tuple(measures)


def _tried(case: Case, again: Recomputed) -> tuple[TriedCandidate, ...]:
    record, index = case.record, case.index
    weights = (
        {candidate.temperature: candidate.row[index] for candidate in again.candidates}
        if index is not None
        else {}
    )
    return tuple(
        TriedCandidate(
            temperature=temperature,
            trust_loss=loss,
            weight=weights.get(temperature),
            chosen=record.took and temperature == record.temperature,
        )
        for temperature, loss in record.tried
    )


def _age(case: Case, trust: TrustConfig | None) -> WordAge | None:
    if case.seen is None or trust is None or case.seen.age < 0:
        return None
    (factor,) = age_priors([case.seen.age], decay=age_decay(trust), max_age=trust.max_age)
    return WordAge(rounds=case.seen.age, factor=factor)


def _text(case: Case, trust: TrustConfig | None) -> TextClaim | None:
    """The neighbour's claim about its text; None where text does not count or the counts are not known."""
    if case.index is None or trust is None or not trust.tokens_power or case.settings is None:
        return None
    if not STRATEGIES[trust.strategy].counts_text:
        return None
    neighbours = (case.neighbour(seen, (), ()) for seen in case.record.seen)
    counts = [case.me, *(Counts(neighbour.tokens, neighbour.samples) for neighbour in neighbours)]
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
    return next((seen.weight for seen in record.seen if seen.peer == case.other), None)


def _check(case: Case, again: Recomputed) -> Check:
    if case.index is None:
        return Check(weight=None, difference=None, agrees=None, why=_ABSENT)
    if again.row is None:
        return Check(weight=None, difference=None, agrees=None, why=again.why)
    weight = again.row[case.index]
    difference = weight - case.weight
    return Check(weight=weight, difference=difference, agrees=abs(difference) <= TOLERANCE, why="")


def _strategy_proposal(case: Case, proposal: Proposal, losses: Mapping[Row, float]) -> StrategyProposal:
    if case.index is None or not proposal.candidates:
        why = proposal.why if case.index is not None else _ABSENT
        return StrategyProposal(
            strategy=proposal.strategy, form=proposal.form, in_use=proposal.in_use, why=why
        )
    weights = [candidate.row[case.index] for candidate in proposal.candidates]
    known = [losses.get(candidate.row, math.nan) for candidate in proposal.candidates]
    if proposal.in_use and not losses:
        tried = dict(case.record.tried)
        known = [tried.get(candidate.temperature, math.nan) for candidate in proposal.candidates]
    # Which of several candidates would have been chosen is known only if all of them were measured.
    best = chosen(proposal.candidates, known) if all(map(math.isfinite, known)) else None
    weight = weights[best] if best is not None else weights[0] if len(weights) == 1 else None
    return StrategyProposal(
        strategy=proposal.strategy,
        form=proposal.form,
        in_use=proposal.in_use,
        weight=weight,
        lowest=min(weights),
        highest=max(weights),
        trust_loss=None if best is None else known[best],
    )
