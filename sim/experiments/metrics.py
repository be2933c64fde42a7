"""The numbers of one run (a method with a seed): the types of `metrics.json`, and how they are computed.

A perplexity is exp of the mean cross-entropy on a peer's test split, which takes part in no decision. Rows are each
peer's last rows. They are compared with the oracle, the row-normalised P P' of how much of which text each peer holds,
which is an assumption about good rows and not a bound.

Nothing here depends on the wall clock.

Axes: N peers, C categories.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from trust.record.history import Round
from trust.record.measures import divergences, effective_collaborators, floored, rank_correlations
from trust.rows.evidence import F64

SCHEMA: Final = 3

_LARGEST_LOSS: Final = 50.0
"""Nats a token at which losses are capped: e^50 stands for any divergence, and JSON has no infinity."""


class StateMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's state of least trust loss in a run: after the merge of `round` where `merged`, else after its local
    steps. `trust` is that loss in nats, `test` the perplexity on the test split, `windows` the loss of each test
    window, so that two methods can be compared window by window."""

    round: int
    merged: bool
    trust: float
    test: float
    windows: tuple[float, ...]


class RoundPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One peer after one round: losses on its trust split and perplexities on its test split around the merge, and
    what it took to come there: the tokens it trained on, the bytes it sent, and virtual seconds, all since the
    beginning."""

    round: int
    trust_alone: float
    trust_merged: float
    before: float
    after: float
    tokens: int
    sent: int
    seconds: float


class PeerMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One peer at the end of a run.

    `rounds` counts its finished rounds. `before` and `after` are the test perplexities around its last merge, `base`
    that of the untrained adapter; null where it did not come so far. `row` is its last row over all peers in order
    (all weight on itself before its first), `divergence` KL(oracle || row) in nats (`trust.record.measures.FLOOR`),
    `correlation` Spearman's with the oracle without its own weight (null where either row is constant), `same` the
    weight on peers whose largest category is the same, itself included, `effective` 1 / sum w^2. Bytes are of the
    whole run, by kind. `device` names how the peer's device differs, empty where all are alike; `targets` are the
    tokens of its training text that bear loss. `best` is its best state by its own trust split, and `averages` the
    best averages of its iterates by name, where it trained alone; `course` has a point for each round.
    """

    name: str
    category: str
    device: str
    targets: int
    rounds: int
    base: float | None
    before: float | None
    after: float | None
    row: tuple[float, ...]
    divergence: float
    correlation: float | None
    same: float
    effective: float
    guard: str
    sent: dict[str, int]
    received: dict[str, int]
    best: StateMetrics | None = None
    averages: dict[str, StateMetrics] = {}
    course: tuple[RoundPoint, ...] = ()

    @property
    def best_after(self) -> float | None:
        """The test perplexity of the best state; that after the last merge where no best state is known."""
        return self.after if self.best is None else self.best.test


class LossPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Test perplexities before and after the merge of `round`, as means over peers."""

    round: int
    before: float
    after: float


class AttackMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What attackers gained in a run.

    `weights` has for each round the weight that an honest peer gave all attackers together, as a mean over honest
    peers; `largest` is the largest of any honest peer in the last round. `refused` counts the honest peers' rounds
    that ended with a refused merge, of `rounds` in all. `triggered` is how often honest peers do in the end what a
    backdoor asks for, as a mean over them; None without a backdoor.
    """

    name: str
    attackers: int
    weights: tuple[float, ...]
    largest: float
    refused: int
    rounds: int
    triggered: float | None = None


class RunMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `metrics.json`.

    `finished` says whether every peer did all its rounds, `virtual_s` when the last peer did. `oracle` has a row for
    each peer, `curve` a point for each round; `forward` and `backward` are tokens through the model by
    purpose (train; trust, the losses that decide; evidence, predictions; row, learning one; test, which only
    reports), all peers together. `trace` is the digest over all events of the run.
    """

    schema: int = SCHEMA
    method: str
    seed: int
    finished: bool
    virtual_s: float
    trace: str
    oracle: tuple[tuple[float, ...], ...]
    peers: tuple[PeerMetrics, ...]
    curve: tuple[LossPoint, ...]
    forward: dict[str, int]
    backward: dict[str, int]
    attack: AttackMetrics | None = None
    """What the attackers gained; None without any."""

    @property
    def rows_NN(self) -> F64:
        return np.array([one.row for one in self.peers])

    @property
    def peer_rounds(self) -> int:
        """Rounds of all peers together, at least 1."""
        return max(1, sum(one.rounds for one in self.peers))


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


def perplexity(loss: float) -> float:
    """exp of a loss in nats a token, capped; nan counts as the largest loss."""
    return math.exp(_LARGEST_LOSS if math.isnan(loss) else min(loss, _LARGEST_LOSS))


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
    )


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
