"""Matches the peers of two runs, and computes what differs between the runs.

Peers match if their ids are the same; the others match by a name that only one peer of each run has (a demo gives new
ids each time).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final

from trust.errors import UserMistake
from trust.inspection.diff.differences import BytesChange, PeerChange, RunPair, WeightChange
from trust.inspection.diff.significance import mean
from trust.inspection.reading.files import HistoryRun
from trust.inspection.reading.naming import listed, peer_names
from trust.inspection.reading.traffic import totals
from trust.names import escaped
from trust.record.history import Begun, PeerName, Round

_LARGEST_LOSS: Final = 50.0
"""Loss in nats per token above which a perplexity grows no further: it would say nothing more."""


def pair(first: HistoryRun, second: HistoryRun, *, seeds: tuple[int | None, int | None]) -> RunPair:
    """Compare two runs. Raises `UserMistake` for different base models, and for runs without a common peer."""
    _check_base(first, second)
    ours, theirs = peer_names(first.members), peer_names(second.members)
    same = _matching_ids(ours, theirs)
    recorded = {member.peer: member.rounds for member in second.members if member.rounds}
    rounds = {
        member.peer: (member.rounds, recorded[same[member.peer]])
        for member in first.members
        if member.rounds and same.get(member.peer) in recorded
    }
    if not rounds:
        raise UserMistake(
            f"the runs do not match: no common peer; {_listed(first, ours)} in {first.path}, "
            f"{_listed(second, theirs)} in {second.path}"
        )
    labels, their_labels = _labels(ours), _labels(theirs)
    number = _common_round(rounds.values())
    back = {other: mine for mine, other in same.items()}
    strangers = {other: label for other, label in their_labels.items() if other not in back}
    changes: list[list[WeightChange]] = []
    for peer, (mine, other) in rounds.items():
        if number in mine and number in other:
            # In ids of the first run; a peer that only the second run has keeps its own.
            rows = _row(mine[number]), {back.get(p, p): w for p, w in _row(other[number]).items()}
            changes.append(_changes(labels[peer], *rows, strangers | labels))
    moved = [sum(abs(change.change) for change in row) / 2 for row in changes]
    weights = sorted(
        (change for row in changes for change in row if change.first or change.second),
        key=lambda change: -abs(change.change),
    )
    return RunPair(
        first_seed=seeds[0],
        second_seed=seeds[1],
        round=number,
        rows=len(changes),
        frobenius=math.hypot(*(change.change for change in weights)) if changes else None,
        moved=mean(moved) if moved else None,
        weights=tuple(weights),
        peers=tuple(
            _peer(labels[peer], (peer, same[peer]), mine, other) for peer, (mine, other) in rounds.items()
        ),
        first_only=tuple(labels[m.peer] for m in first.members if m.rounds and m.peer not in rounds),
        second_only=tuple(their_labels[peer] for peer in recorded if back.get(peer) not in rounds),
        bytes=_bytes(first, second),
    )


def _check_base(first: HistoryRun, second: HistoryRun) -> None:
    for what in ("base", "tokenizer"):
        ours, theirs = (
            {getattr(e.record, what)[:12] for e in run.entries if isinstance(e.record, Begun)}
            for run in (first, second)
        )
        if ours and theirs and ours != theirs:
            name = {"base": "base model"}.get(what, what)
            raise UserMistake(
                f"the runs do not match: {name} {_joined(ours)} in {first.path}, {_joined(theirs)} in "
                f"{second.path}; losses of different ones cannot be compared"
            )


def _matching_ids(ours: dict[PeerName, str], theirs: dict[PeerName, str]) -> dict[PeerName, PeerName]:
    """Id of a peer in the first run -> its id in the second run, for the peers that are in both."""
    same = {peer: peer for peer in ours if peer in theirs}
    left, right = (
        {name: peer for peer, name in names.items() if name and times[name] == 1 and peer not in same}
        for names in (ours, theirs)
        for times in (Counter(names.values()),)
    )
    return same | {peer: right[name] for name, peer in left.items() if name in right}


def _common_round(rounds: Iterable[tuple[dict[int, Round], dict[int, Round]]]) -> int | None:
    """The last round that at least half of the peers have in both runs, None where there is none.

    Not the last round of all of them: a peer that stopped early would hold back all others.
    """
    pairs = list(rounds)
    times = Counter(number for mine, other in pairs for number in mine.keys() & other.keys())
    return max((number for number, count in times.items() if 2 * count >= len(pairs)), default=None)


def _row(record: Round) -> dict[PeerName, float]:
    return {seen.peer: seen.weight for seen in record.seen} | {record.peer: record.self_weight}


def _changes(
    who: str, first: dict[PeerName, float], second: dict[PeerName, float], labels: dict[PeerName, str]
) -> list[WeightChange]:
    return [
        WeightChange(who=who, whom=labels[peer], first=first.get(peer, 0.0), second=second.get(peer, 0.0))
        for peer in dict.fromkeys((*first, *second))
    ]


def _peer(
    name: str, ids: tuple[PeerName, PeerName], mine: dict[int, Round], other: dict[int, Round]
) -> PeerChange:
    first, second = (next(reversed(rounds.values())) for rounds in (mine, other))
    return PeerChange(
        name=name,
        first_peer=escaped(ids[0]),
        second_peer=escaped(ids[1]),
        first_round=first.round,
        second_round=second.round,
        first_loss=first.test_merged,
        second_loss=second.test_merged,
        first_perplexity=_perplexity(first.test_merged),
        second_perplexity=_perplexity(second.test_merged),
    )


def _labels(names: dict[PeerName, str]) -> dict[PeerName, str]:
    """Label of each peer: its name if no other peer of the run has it, otherwise the name with the end of the id; the
    id of a peer without a name."""
    times = Counter(names.values())
    return {
        peer: escaped(peer if not name else name if times[name] == 1 else f"{name}~{peer[-6:]}")
        for peer, name in names.items()
    }


def _bytes(first: HistoryRun, second: HistoryRun) -> tuple[BytesChange, ...]:
    ours, theirs = ({"sent": Counter[str](), "received": Counter[str]()} for _ in range(2))
    for run, sums in ((first, ours), (second, theirs)):
        for traffic in totals(run.entries).values():
            sums["sent"] += traffic.sent
            sums["received"] += traffic.received
    return tuple(
        BytesChange(way=way, kind=escaped(kind), first=ours[way][kind], second=theirs[way][kind])
        for way in ours
        for kind in sorted(ours[way] | theirs[way])
    )


def _listed(run: HistoryRun, names: dict[PeerName, str]) -> str:
    called = [escaped(names[member.peer] or member.peer) for member in run.members if member.rounds]
    return listed(called, 8)


def _joined(prints: Iterable[str]) -> str:
    return " and ".join(sorted(map(escaped, prints)))


def _perplexity(loss: float) -> float:
    """exp of a loss in nats per token, bounded by `_LARGEST_LOSS`."""
    return math.exp(min(loss, _LARGEST_LOSS))
