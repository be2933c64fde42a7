"""Makes the part of a report about one run (`RunPart`) from the records of its peers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from sim.reporting.document import Glimpse, Measured, PeerPart, RunPart, Series, Spent, Totals
from sim.reporting.network_picture import places
from trust.inspection.reading.costs import SpentByMethod, cost_totals
from trust.inspection.reading.files import HistoryRun
from trust.inspection.reading.traffic import PeerTraffic, totals
from trust.names import escaped, short_names
from trust.record.history import Begun, PeerName, Refusal, Round, Seen
from trust.record.matrix import PeerRounds, trust_matrix
from trust.rows.config import TrustConfig, evidence_of
from trust.rows.evidence import F64

_LABEL_WIDTH = 14
"""Most characters of a peer's label. Guess."""


class PeerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated peer as metrics.json describes it."""

    name: str
    category: str = ""
    device: str = ""


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of metrics.json that a report needs. Every version of that file has them."""

    method: str
    seed: int
    finished: bool | None = None
    peers: tuple[PeerFacts, ...] = ()


def run_part(run: HistoryRun, simulated: RunFacts | None, *, share: float) -> RunPart:
    """The part of a report about `run`, with evenly spaced rounds: about `share` of them, in (0, 1], and at least two.

    Each peer's last round is always included, because the page shows it first.
    """
    recorded = sorted({number for member in run.members for number in member.rounds})
    last = {max(member.rounds) for member in run.members if member.rounds}
    held = sorted(set(evenly(recorded, max(2, math.floor(share * len(recorded))))) | last)
    kept = [
        PeerRounds(one.peer, one.name, {n: one.rounds[n] for n in held if n in one.rounds})
        for one in run.members
    ]
    peers = _peers(kept)
    begun = [one.record for one in run.entries if isinstance(one.record, Begun)]
    times = [one.at_s for one in run.entries]
    return RunPart(
        title=escaped(f"{simulated.method}, seed {simulated.seed}") if simulated else "",
        method=escaped(simulated.method) if simulated else None,
        seed=simulated.seed if simulated else None,
        finished=simulated.finished if simulated else None,
        strategy=escaped(begun[-1].strategy) if begun else "",
        kinds=_kinds(begun),
        recorded=len(recorded),
        rounds=tuple(held),
        began_s=min(times, default=math.nan),
        ended_s=max(times, default=math.nan),
        peers=_parts(run, kept, peers, simulated),
    )


def evenly(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers, evenly spaced, the first and the last included; `count` is at least 2."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[round(step * (len(numbers) - 1) / (count - 1))] for step in range(count)]


def _peers(kept: Sequence[PeerRounds]) -> dict[PeerName, str]:
    """Ids and names of all peers in the records: in the order of the latest trust matrix, then peers that left."""
    matrix = trust_matrix(kept)
    peers = dict(zip(matrix.peers, matrix.names, strict=True))
    for one in (one for member in kept for record in member.rounds.values() for one in record.seen):
        peers.setdefault(one.peer, one.name)
    return peers


def _parts(
    run: HistoryRun, kept: Sequence[PeerRounds], peers: Mapping[PeerName, str], simulated: RunFacts | None
) -> tuple[PeerPart, ...]:
    place = {peer: index for index, peer in enumerate(peers)}
    labels = short_names(list(peers.items()), _LABEL_WIDTH)
    points = places(_mean_rows(kept, place))
    known = {one.name: one for one in simulated.peers} if simulated else {}
    rounds = {member.peer: list(member.rounds.values()) for member in kept}
    whole = _totals(run)
    return tuple(
        PeerPart(
            peer=escaped(peer),
            name=escaped(name),
            label=label,
            category=escaped(known[name].category) if name in known else "",
            device=escaped(known[name].device) if name in known else "",
            place=point,
            series=_series(rounds.get(peer, []), place),
            totals=whole.get(peer),
        )
        for (peer, name), label, point in zip(peers.items(), labels, points, strict=True)
    )


def _mean_rows(kept: Sequence[PeerRounds], place: Mapping[PeerName, int]) -> F64:
    """The mean row of each peer over the kept rounds; zeros for a peer without a record."""
    rows_PP = np.zeros((len(place), len(place)))
    for member in kept:
        for record in member.rounds.values():
            for one in record.seen:
                rows_PP[place[member.peer], place[one.peer]] += one.weight / len(member.rounds)
    return rows_PP


def _series(records: Sequence[Round], place: Mapping[PeerName, int]) -> Series:
    records = sorted(records, key=lambda record: record.round)
    return Series(
        rounds=tuple(one.round for one in records),
        self_weight=tuple(rounded(one.self_weight) for one in records),
        seen=tuple(tuple(_glimpse(seen, place) for seen in one.seen) for one in records),
        trust_alone=tuple(rounded(one.trust_alone, 5) for one in records),
        trust_merged=tuple(rounded(one.trust_merged, 5) for one in records),
        test_alone=tuple(rounded(one.test_alone, 5) for one in records),
        test_merged=tuple(rounded(one.test_merged, 5) for one in records),
        temperature=tuple(None if one.temperature is None else rounded(one.temperature) for one in records),
        guard=tuple(one.guard for one in records),
    )


def _glimpse(seen: Seen, place: Mapping[PeerName, int]) -> Glimpse:
    several = len(seen.distances) > 1
    return Glimpse(
        peer=place[seen.peer],
        weight=rounded(seen.weight),
        distance=_each(seen.distances) if several else rounded(seen.distance),
        error=_each(seen.errors) if several and seen.errors else rounded(seen.error),
        age=seen.age,
        its_round=seen.its_round,
        relation=seen.relation,
    )


def _each(values: tuple[float, ...]) -> Measured:
    return tuple(map(rounded, values))


def rounded(value: float, digits: int = 4) -> float:
    """`value` to a number of significant digits. A page can hold a hundred thousand numbers, so digits are bytes."""
    return float(f"{value:.{digits}g}")


def _totals(run: HistoryRun) -> dict[PeerName, Totals]:
    traffic, spent = totals(run.entries), cost_totals(run.entries)
    refusals = Counter(one.record.peer for one in run.entries if isinstance(one.record, Refusal))
    return {
        member.peer: _of_member(
            member,
            traffic.get(member.peer, PeerTraffic()),
            refusals[member.peer],
            {method: one for (peer, method), one in sorted(spent.items()) if peer == member.peer},
        )
        for member in run.members
    }


def _of_member(
    member: PeerRounds, traffic: PeerTraffic, refusals: int, spent: Mapping[str, SpentByMethod]
) -> Totals:
    records = member.rounds.values()
    return Totals(
        rounds=len(records),
        tokens=sum(one.tokens for one in records),
        refusals=refusals,
        train_s=rounded(math.fsum(one.train_s for one in records)),
        gather_s=rounded(math.fsum(one.gather_s for one in records)),
        merge_s=rounded(math.fsum(one.merge_s for one in records)),
        sent={escaped(kind): count for kind, count in sorted(traffic.sent.items())},
        received={escaped(kind): count for kind, count in sorted(traffic.received.items())},
        spent=tuple(
            Spent(
                method=escaped(method),
                rounds=one.rounds,
                joules=rounded(one.joules),
                processor_s=rounded(one.processor_s),
                peak_bytes=one.peak_bytes,
                sent=one.sent,
                received=one.received,
            )
            for method, one in spent.items()
        ),
    )


def _kinds(begun: Sequence[Begun]) -> tuple[str, ...]:
    """Kinds of evidence of the last start's trust configuration; empty where unknown or where there are none."""
    try:
        config = msgspec.json.decode(begun[-1].trust, type=TrustConfig)
    except (IndexError, ValueError):
        return ()
    return tuple(evidence_of(config))
