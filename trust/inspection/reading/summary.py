"""The JSON document of `trust show`, from which its tables are drawn too.

The types below describe the document, outermost last. Numbers that are not finite are null.
`schema` rises when a field changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from trust.errors import UserMistake
from trust.names import escaped
from trust.record.blocked import read_blocked
from trust.record.history import LeftOut, PeerName, Relation, Round
from trust.record.matrix import Matrix, PeerRounds, trust_matrix
from trust.record.measures import asymmetry, effective_collaborators, entropy
from trust.rows.evidence import F64

SCHEMA = 1


class PeerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the matrix: `peer` is the peer's id, `name` the name it gives itself, or else the name that others
    give it (may be empty)."""

    peer: PeerName
    name: str


class RowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's row of the trust matrix and the losses of the merge that used it.

    `weights[p]` is what it takes from `Summary.peers[p]`, and sums to 1; `self_weight` is its own entry.
    `effective` is the effective number of collaborators, 1 / sum of squared weights, itself counted;
    `entropy` is in nats. `trust_alone` and `trust_merged` are losses on the peer's trust split before and
    after the merge, in nats per token; `test_alone` and `test_merged` those on its test split. `guard` is
    alone, taken, shrunk, refused, returned or recalled; `settled` says that the peer trains no more. `left_out` are the
    neighbours that were left out of the row, by id, and why (`trust.record.history.LeftOut`); `others` those that hold
    another base, by id, and their relation (`trust.record.history.Relation`). `asks_in` is the number
    of rounds to come in which it asks nobody, because none helped. `forgotten` is that of `trust.record.history.Round`,
    None where it is not measured. `divergence` and `correlation` are None without a comparison (`Against`).
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
    left_out: dict[PeerName, LeftOut] = msgspec.field(default_factory=dict[PeerName, LeftOut])
    asks_in: int = 0
    forgotten: float | None = None
    divergence: float | None = None
    correlation: float | None = None
    settled: bool = False
    others: dict[PeerName, Relation] = msgspec.field(default_factory=dict[PeerName, Relation])


class FileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A history file that was read: its number of whole records, the bytes after them, and why these were not read.

    A peer that is writing a record leaves a torn end for a moment. `records` is null where only the end of a large
    file was decoded.
    """

    path: str
    records: int | None
    torn_bytes: int
    why: str


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """Distance of the rows from those of a known matrix, the oracle in `path`.

    A row's `divergence` is KL(oracle row || row) in nats, with `floor` of the uniform row mixed into both; its
    `correlation` is Spearman's coefficient without the own weight, null where either row gives all others the same.
    `divergence` and `correlation` here are means over the rows that have a value; `frobenius` is the norm of the
    difference of all rows.
    """

    path: str
    floor: float
    divergence: float
    correlation: float
    frobenius: float


class BlockedSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A peer on the block list of the home in the folder `by`."""

    by: str
    peer: PeerName
    name: str
    why: str


class PeerBytes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that a peer sent and received since its first start, by kind."""

    peer: PeerName
    name: str
    sent: dict[str, int]
    received: dict[str, int]


class PeerCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer spent in the rounds whose joules were counted or estimated by `method`
    (`trust.inspection.reading.costs.SpentByMethod`)."""

    peer: PeerName
    name: str
    method: str
    rounds: int
    tokens: int
    joules: float
    seconds: float
    processor_s: float
    peak_bytes: int
    sent: int
    received: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document of `trust show`.

    `round` is the requested round, null for each peer's latest. `peers` are sorted by `order`; `rows` has an entry for
    each peer that recorded the round, in the order of `peers`. `groups` are the ids of each cluster in that order,
    empty for other orders. `asymmetry` is 0 where trust is mutual, 1 where it is one-sided.
    """

    schema: int = SCHEMA
    round: int | None
    peers: tuple[PeerSummary, ...]
    rows: tuple[RowSummary, ...]
    files: tuple[FileSummary, ...]
    asymmetry: float
    order: str = "name"
    groups: tuple[tuple[PeerName, ...], ...] = ()
    against: Against | None = None
    bytes: tuple[PeerBytes, ...] | None = None
    costs: tuple[PeerCost, ...] | None = None
    blocked: tuple[BlockedSummary, ...] = ()

    @property
    def matrix(self) -> tuple[tuple[float, ...], ...]:
        return tuple(row.weights for row in self.rows)

    @property
    def square_PP(self) -> F64:
        """`matrix` as a square array, with nan in the rows of peers without a row and in rows with a value that is not
        finite."""
        place = {peer.peer: index for index, peer in enumerate(self.peers)}
        rows_PP = np.full((len(place), len(place)), np.nan)
        for row in self.rows:
            rows_PP[place[row.peer]] = row.weights
        return _finite(rows_PP)


def summary(
    known: Sequence[PeerRounds], files: Sequence[FileSummary], *, at_round: int | None = None
) -> Summary:
    """Summary of the rows of `at_round`, or of each peer's latest row.

    All text is escaped: the history may come from a stranger.
    """
    matrix = trust_matrix(known, at_round=at_round)
    records = {member.peer: member.at(at_round) for member in known}
    peers = tuple(
        PeerSummary(peer=escaped(peer), name=escaped(name))
        for peer, name in zip(matrix.peers, matrix.names, strict=True)
    )
    rows = (
        _row(peers[index], index, record, matrix)
        for index, peer in enumerate(matrix.peers)
        if (record := records.get(peer)) is not None
    )
    return Summary(
        round=at_round,
        peers=peers,
        rows=tuple(rows),
        files=tuple(files),
        asymmetry=asymmetry(_finite(matrix.rows_PP)),
        blocked=tuple(one for file in files for one in _blocked(Path(file.path).parent)),
    )


def _blocked(folder: Path) -> list[BlockedSummary]:
    """The block list of a home. One that cannot be read is left out: `trust block` and the running peer name it."""
    try:
        listed = read_blocked(folder)
    except UserMistake:
        return []
    return [
        BlockedSummary(
            by=escaped(str(folder), 4096),
            peer=escaped(one.peer),
            name=escaped(one.name),
            why=escaped(one.why),
        )
        for one in listed.values()
    ]


def _finite(rows_PP: F64) -> F64:
    return np.where(np.isfinite(rows_PP).all(axis=1, keepdims=True), rows_PP, np.nan)


def rounds_text(known: Iterable[PeerRounds]) -> str:
    """The rounds that at least one peer recorded, such as `1 to 12, 14`."""
    return runs_text(number for member in known for number in member.rounds)


def runs_text(numbers: Iterable[int]) -> str:
    """Whole numbers as ranges: `1 to 12, 14`. Empty for no numbers."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)


def _row(peer: PeerSummary, index: int, record: Round, matrix: Matrix) -> RowSummary:
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
        settled=record.settled,
        left_out={escaped(seen.peer): seen.left for seen in record.seen if seen.left is not None},
        asks_in=record.asks_in,
        forgotten=None if isinstance(record.forgotten, msgspec.UnsetType) else record.forgotten,
        others={escaped(seen.peer): seen.relation for seen in record.seen if seen.relation != "merges"},
    )
