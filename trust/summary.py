"""What `trust show` says, as data: the JSON document, and what the tables are drawn from.

The document is described by the types below, outermost last. Numbers that are not finite are null.
`schema` rises when a field changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from trust.history import PeerName, Round
from trust.matrix import Matrix, Member, trust_matrix
from trust.measures import effective_collaborators, entropy
from trust.names import escaped

SCHEMA = 1


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A column: `peer` is its id, `name` what it calls itself, or what others call it; may be empty."""

    peer: PeerName
    name: str


class RowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's row and what it did.

    `weights[p]` is what it takes from `Summary.peers[p]`, and sums to 1; `self_weight` is its own entry.
    `effective` is the effective number of collaborators, 1 / sum of squared weights, itself counted;
    `entropy` is in nats. `trust_alone` and `trust_merged` are losses on the peer's trust split before and
    after the merge, in nats per token; `test_alone` and `test_merged` those on its test split. `guard` is
    alone, taken, shrunk or refused.
    """

    peer: PeerName
    name: str
    round: int
    weights: tuple[float, ...]
    self_weight: float
    effective: float
    entropy: float
    trust_alone: float
    trust_merged: float
    test_alone: float
    test_merged: float
    temperature: float | None
    guard: str


class FileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read: its whole records, the bytes after them, and why these were not read.

    A peer that is writing leaves a few such bytes for a moment.
    """

    path: str
    records: int
    torn_bytes: int
    why: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `round` is the one asked for, null for each peer's latest; `rows` has an entry for
    each peer that recorded it, in the order of `peers`."""

    schema: int = SCHEMA
    round: int | None
    peers: tuple[Peer, ...]
    rows: tuple[RowSummary, ...]
    files: tuple[FileSummary, ...]

    @property
    def matrix(self) -> tuple[tuple[float, ...], ...]:
        return tuple(row.weights for row in self.rows)


def summary(known: Sequence[Member], files: Iterable[FileSummary], *, at_round: int | None = None) -> Summary:
    """The rows of `at_round`, or each peer's latest. All text is escaped: a run may be somebody else's."""
    matrix = trust_matrix(known, at_round=at_round)
    records = {member.peer: member.at(at_round) for member in known}
    peers = tuple(
        Peer(peer=escaped(peer), name=escaped(name))
        for peer, name in zip(matrix.peers, matrix.names, strict=True)
    )
    rows = (
        _row(peers[index], index, record, matrix)
        for index, peer in enumerate(matrix.peers)
        if (record := records.get(peer)) is not None
    )
    return Summary(round=at_round, peers=peers, rows=tuple(rows), files=tuple(files))


def rounds_text(known: Iterable[Member]) -> str:
    """Which rounds somebody recorded, in runs: `1 to 12, 14`. Empty where there is none."""
    numbers = sorted({number for member in known for number in member.rounds})
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)


def _row(peer: Peer, index: int, record: Round, matrix: Matrix) -> RowSummary:
    weights = tuple(float(weight) for weight in matrix.rows_PP[index])
    finite = all(math.isfinite(weight) for weight in weights)
    return RowSummary(
        peer=peer.peer,
        name=peer.name,
        round=record.round,
        weights=weights,
        self_weight=record.self_weight,
        effective=effective_collaborators(weights) if finite else math.nan,
        entropy=entropy(weights) if finite else math.nan,
        trust_alone=record.trust_alone,
        trust_merged=record.trust_merged,
        test_alone=record.test_alone,
        test_merged=record.test_merged,
        temperature=record.temperature,
        guard=record.guard,
    )
