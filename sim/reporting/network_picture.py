"""Positions of peers in the picture of the network: peers that trust each other stand close together.

The layout is computed when the page is written, so that the page needs no layout code and looks the same in every
browser. Arrays end in their axes: N peers, 2 coordinates.
"""

# networkx has types for few of its functions.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math

import numpy as np

from trust.rows.evidence import F64

_SPRINGS = 60
"""Largest number of peers for which the spring layout is solved: 0.3 s on one core. More peers stand on a circle, which
is also about where springs leave many peers that all know each other."""

_NEAREST = 0.35
"""Target distance of the two peers that trust each other most; peers without trust have 1. Guess: large enough that
points and their names stay apart."""


def places(weights_NN: F64) -> tuple[tuple[float, float], ...]:
    """A point in the unit square for each peer, by the layout of Kamada and Kawai (1989).

    `weights_NN` may hold nan, which counts as 0.
    """
    count = len(weights_NN)
    mutual_NN = np.nan_to_num(weights_NN)
    mutual_NN = (mutual_NN + mutual_NN.T) / 2
    np.fill_diagonal(mutual_NN, 0.0)
    circle_N2 = np.zeros((count, 2))
    # The solver finds only a local optimum: from a circle in peer order, equal groups that alternate around it hold
    # each other in place. So the circle that it starts from is ordered by trust.
    for step, index in enumerate(_chain(mutual_NN)):
        circle_N2[index] = _on_circle(step, count)
    if not 3 <= count <= _SPRINGS:
        return _fitted(circle_N2)
    # networkx takes a quarter of a second to import, and only this needs it.
    import networkx as nx

    top = float(mutual_NN.max())
    share_NN = mutual_NN / top if top > 0 else mutual_NN
    wanted = {
        i: {j: 1 - (1 - _NEAREST) * float(share_NN[i, j]) for j in range(count) if j != i}
        for i in range(count)
    }
    found = nx.kamada_kawai_layout(
        nx.complete_graph(count), dist=wanted, pos={i: circle_N2[i] for i in range(count)}
    )
    return _fitted(np.array([found[i] for i in range(count)]))


def _chain(mutual_NN: F64) -> list[int]:
    """An order of the peers: after each peer the remaining one with the largest mutual weight."""
    order: list[int] = []
    left = list(range(len(mutual_NN)))
    while left:
        last = order[-1] if order else left[0]
        order.append(max(left, key=lambda index: mutual_NN[last, index]) if order else last)
        left.remove(order[-1])
    return order


def _on_circle(index: int, count: int) -> tuple[float, float]:
    """A point on the unit circle, clockwise from the top."""
    angle = 2 * math.pi * index / max(count, 1) - math.pi / 2
    return math.cos(angle), math.sin(angle)


def _fitted(points_N2: F64) -> tuple[tuple[float, float], ...]:
    """Points scaled and centred into the unit square, with their aspect ratio kept."""
    if not len(points_N2):
        return ()
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    scale = max(float((high - low).max()), 1e-9)
    fitted_N2 = (points_N2 - (low + high) / 2) / scale + 0.5
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in fitted_N2)
