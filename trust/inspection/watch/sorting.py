"""Order of peers in the live view. Rows and columns have the same order, so that own weights stay on the diagonal."""

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
    """All peers of `board` in the order `sort`: peers that wrote records, then by name those that only others mention.

    `self` puts the largest own weight first, `loss` the smallest test loss; a peer without a finished round comes last.
    Ties are in the order of names.
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
    """The order of `trust show --order cluster`. It does not depend on the order of the files."""
    size = len(learners)
    rows_PP = board.matrix.rows_PP[:size, :size]
    known_PP = np.where(np.isfinite(rows_PP).all(axis=1, keepdims=True), rows_PP, np.nan)
    places, _ = clustered(known_PP)
    return [learners[place] for place in places]
