"""In which order a view shows peers: rows and columns alike, so that the diagonal stays one."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

import numpy as np

from trust.inspection.reading.ordering import clustered
from trust.inspection.watch.board import Board
from trust.record.history import PeerName

Sort: TypeAlias = Literal["name", "self", "loss", "cluster"]

SORTS: Final[tuple[Sort, ...]] = ("name", "self", "loss", "cluster")


def in_order(board: Board, sort: Sort) -> tuple[PeerName, ...]:
    """First the peers that have a row, then those that only others speak of, by name.

    By `self` who keeps most comes first, by `loss` who has the least test loss; a peer without a round comes last.
    Ties stand by name.
    """
    peers = board.matrix.peers
    learners = [peer for peer in peers if peer in board.peers]
    others = [peer for peer in peers if peer not in board.peers]
    match sort:
        case "name":
            pass
        case "self":
            learners.sort(key=lambda peer: -_self_weight(board, peer))
        case "loss":
            learners.sort(key=lambda peer: _loss(board, peer))
        case "cluster":
            learners = _clustered(board, learners)
    return (*learners, *others)


def _self_weight(board: Board, peer: PeerName) -> float:
    latest = board.peers[peer].latest
    return latest.self_weight if latest is not None and not math.isnan(latest.self_weight) else -math.inf


def _loss(board: Board, peer: PeerName) -> float:
    latest = board.peers[peer].latest
    return latest.test_merged if latest is not None and not math.isnan(latest.test_merged) else math.inf


def _clustered(board: Board, learners: list[PeerName]) -> list[PeerName]:
    """As `trust show --order cluster` has it. Deterministic, whatever the order of the files."""
    size = len(learners)
    rows_PP = board.matrix.rows_PP[:size, :size]
    known_PP = np.where(np.isfinite(rows_PP).all(axis=1, keepdims=True), rows_PP, np.nan)
    places, _ = clustered(known_PP)
    return [learners[place] for place in places]
