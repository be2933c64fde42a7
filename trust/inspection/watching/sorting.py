"""In which order a view shows peers: rows and columns alike, so that the diagonal stays one."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias, cast

import numpy as np

from trust.evidence import F64
from trust.history import PeerName
from trust.inspection.watching.board import Board

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
    """Who trusts each other stands together. Deterministic, whatever the order of the files."""
    if len(learners) < 3:
        return learners
    # SciPy takes a fifth of a second to import, and only this order needs it.
    from scipy.cluster import hierarchy

    size = len(learners)
    rows_PP = np.nan_to_num(board.matrix.rows_PP[:size, :size], posinf=0.0, neginf=0.0).clip(0.0, 1.0)
    mutual_PP = rows_PP + rows_PP.T
    apart = mutual_PP.max() - mutual_PP[np.triu_indices(size, k=1)]
    tree = cast("F64", hierarchy.linkage(apart, "average", optimal_ordering=True))  # pyright: ignore[reportUnknownMemberType]
    leaves = cast("list[int]", hierarchy.leaves_list(tree).tolist())  # pyright: ignore[reportUnknownMemberType]
    return [learners[leaf] for leaf in leaves]
