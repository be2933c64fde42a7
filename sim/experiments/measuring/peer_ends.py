"""The metrics of a run, computed from what the simulator knows of each peer at its end.

Rows are each peer's last rows. They are compared with the oracle, the row-normalised P P' of how much of which text
each peer holds, which is an assumption about good rows and not a bound.

Axes: N peers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np

from sim.experiments.measuring.metrics import (
    AttackMetrics,
    LossPoint,
    PeerMetrics,
    RoundPoint,
    RunMetrics,
    StateMetrics,
    perplexity,
)
from trust.record.history import Round
from trust.record.measures import divergences, effective_collaborators, floored, rank_correlations
from trust.rows.evidence import F64


class PeerEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator knows of a peer at the end of a run. `rounds` are its records in order, each round once."""

    peer: str
    name: str
    category: str
    device: str = ""
    targets: int = 1
    base_loss: float | None
    rounds: tuple[Round, ...]
    sent: dict[str, int]
    received: dict[str, int]
    at: tuple[tuple[float, int], ...] = ()
    """For each of `rounds` the virtual seconds and the bytes sent when its record was written."""
    best: StateMetrics | None = None
    averages: dict[str, StateMetrics] = {}
    bits: tuple[float, ...] = ()


def run_metrics(
    ends: Sequence[PeerEnd],
    oracle_NN: F64,
    *,
    method: str,
    seed: int,
    finished: bool,
    virtual_s: float,
    trace: str,
    forward: Mapping[str, int],
    backward: Mapping[str, int],
    attack: AttackMetrics | None = None,
) -> RunMetrics:
    rows_NN = np.array([_row(end, ends) for end in ends])
    divergence_N = divergences(floored(oracle_NN), floored(rows_NN))
    correlation_N = rank_correlations(oracle_NN, rows_NN)
    return RunMetrics(
        method=method,
        seed=seed,
        finished=finished,
        virtual_s=virtual_s,
        trace=trace,
        oracle=tuple(tuple(map(float, row)) for row in oracle_NN),
        peers=tuple(
            _peer(end, rows_NN[i], float(divergence_N[i]), float(correlation_N[i]), ends)
            for i, end in enumerate(ends)
        ),
        curve=_curve(ends),
        forward=dict(sorted(forward.items())),
        backward=dict(sorted(backward.items())),
        attack=attack,
    )


def attack_metrics(
    name: str,
    honest: Sequence[Sequence[Round]],
    attackers: Collection[str],
    *,
    triggered: Sequence[float] = (),
) -> AttackMetrics | None:
    """`honest` are the rounds of each honest peer, `attackers` the ids of the attackers; None where there are none.
    `triggered` is the success of a backdoor at each honest peer."""
    if not attackers:
        return None
    by_round: dict[int, list[float]] = {}
    for record in (record for rounds in honest for record in rounds):
        taken = math.fsum(seen.weight for seen in record.seen if seen.peer in attackers)
        by_round.setdefault(record.round, []).append(taken)
    records = [record for rounds in honest for record in rounds]
    return AttackMetrics(
        name=name,
        attackers=len(attackers),
        weights=tuple(math.fsum(each) / len(each) for _, each in sorted(by_round.items())),
        largest=max(by_round[max(by_round)], default=0.0) if by_round else 0.0,
        refused=sum(record.guard == "refused" for record in records),
        rounds=len(records),
        triggered=math.fsum(triggered) / len(triggered) if triggered else None,
    )


def _peer(
    end: PeerEnd, row_N: F64, divergence: float, correlation: float, ends: Sequence[PeerEnd]
) -> PeerMetrics:
    alike = (weight for weight, one in zip(row_N, ends, strict=True) if one.category == end.category)
    last = end.rounds[-1] if end.rounds else None
    return PeerMetrics(
        name=end.name,
        category=end.category,
        device=end.device,
        targets=end.targets,
        rounds=len(end.rounds),
        base=None if end.base_loss is None else perplexity(end.base_loss),
        before=perplexity(last.test_alone) if last else None,
        after=perplexity(last.test_merged) if last else None,
        row=tuple(map(float, row_N)),
        # A divergence of 0 can come out slightly negative by rounding.
        divergence=max(0.0, divergence),
        correlation=None if math.isnan(correlation) else correlation,
        same=math.fsum(alike),
        effective=effective_collaborators(row_N.tolist()),
        guard=last.guard if last else "",
        sent=dict(sorted(end.sent.items())),
        received=dict(sorted(end.received.items())),
        best=end.best,
        averages=end.averages,
        course=_course(end),
        bits=end.bits,
        joules=_joules(end),
    )


def _joules(end: PeerEnd) -> float | msgspec.UnsetType:
    costs = [one.cost for one in end.rounds if not isinstance(one.cost, msgspec.UnsetType)]
    return math.fsum(cost.joules for cost in costs) if costs else msgspec.UNSET


def _course(end: PeerEnd) -> tuple[RoundPoint, ...]:
    return tuple(
        RoundPoint(
            round=one.round,
            trust_alone=one.trust_alone,
            trust_merged=one.trust_merged,
            before=perplexity(one.test_alone),
            after=perplexity(one.test_merged),
            tokens=one.tokens_total,
            sent=sent,
            seconds=seconds,
        )
        for one, (seconds, sent) in zip(end.rounds, end.at, strict=False)
    )


def _row(end: PeerEnd, ends: Sequence[PeerEnd]) -> list[float]:
    """The peer's last row over all peers; all weight on itself before its first."""
    if not end.rounds:
        return [float(one is end) for one in ends]
    weights = {one.peer: one.weight for one in end.rounds[-1].seen} | {end.peer: end.rounds[-1].self_weight}
    return [weights.get(one.peer, 0.0) for one in ends]


def _curve(ends: Sequence[PeerEnd]) -> tuple[LossPoint, ...]:
    by_round: dict[int, list[Round]] = {}
    for record in (record for end in ends for record in end.rounds):
        by_round.setdefault(record.round, []).append(record)
    return tuple(
        LossPoint(
            round=number,
            before=math.fsum(perplexity(one.test_alone) for one in records) / len(records),
            after=math.fsum(perplexity(one.test_merged) for one in records) / len(records),
        )
        for number, records in sorted(by_round.items())
    )
