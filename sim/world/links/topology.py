"""The graphs of a world: which peers are neighbours.

Peers are added one by one and numbered in that order; a neighbour is named by its number.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from sim.world.conditions import TopologyConfig

_TRIES = 10_000
"""Graphs drawn before giving up. With degree 2, most draws fall into several rings, so a few tries do not suffice."""


class Graph(Protocol):
    def add(self) -> None:
        """Add the next peer. Raises `ValueError` where the graph can grow no more."""
        ...

    def neighbours(self, peer: int) -> Sequence[int]:
        """Neighbours of a peer, rising; a full graph names the peer itself too."""
        ...


def graph_of(config: TopologyConfig, rng: random.Random) -> Graph:
    return FullGraph() if config.kind == "full" else RandomGraph(config.degree, rng)


class FullGraph:
    """Every peer is a neighbour of every other."""

    def __init__(self) -> None:
        self._peers = 0

    def add(self) -> None:
        self._peers += 1

    def neighbours(self, peer: int) -> Sequence[int]:  # noqa: ARG002 - all peers have the same neighbours
        return range(self._peers)


class RandomGraph:
    """A random regular graph, drawn from `rng` when neighbours are first asked for: it needs the number of all peers.

    Drawing it earlier would also change the order of draws from the world's generator, and with it every trace.
    """

    def __init__(self, degree: int, rng: random.Random) -> None:
        self._degree = degree
        self._rng = rng
        self._peers = 0
        self._drawn: list[list[int]] = []

    def add(self) -> None:
        if self._drawn:
            raise ValueError("a random graph is drawn when the first peer starts; add all peers before")
        self._peers += 1

    def neighbours(self, peer: int) -> Sequence[int]:
        if not self._drawn:
            self._drawn = random_regular(self._peers, self._degree, self._rng)
        return self._drawn[peer]


def random_regular(peers: int, degree: int, rng: random.Random) -> list[list[int]]:
    """The neighbours of each of `peers`, `degree` each, rising: a connected graph without loops.

    Edge ends are paired at random, and pairs that would repeat are drawn again: nearly uniform over such graphs
    (Steger and Wormald 1999, Combinatorics, Probability and Computing 8). Raises `ValueError` where there is no
    such graph.
    """
    if not degree < peers:
        raise ValueError(f"degree must be below the number of peers, {peers}, got {degree}")
    if peers * degree % 2:
        raise ValueError(f"peers times degree must be even, got {peers} and {degree}")
    for _ in range(_TRIES):
        neighbours = _paired(peers, degree, rng)
        if neighbours is not None and _is_connected(neighbours):
            return [sorted(one) for one in neighbours]
    raise ValueError(f"found no connected graph of {peers} peers with degree {degree}")


def _paired(peers: int, degree: int, rng: random.Random) -> list[set[int]] | None:
    """A regular graph, connected or not; None where the last edge ends cannot be paired."""
    neighbours: list[set[int]] = [set() for _ in range(peers)]
    stubs = [peer for peer in range(peers) for _ in range(degree)]
    while stubs:
        rng.shuffle(stubs)
        left: list[int] = []
        for one, other in zip(stubs[::2], stubs[1::2], strict=True):
            if one == other or other in neighbours[one]:
                left += one, other
            else:
                neighbours[one].add(other)
                neighbours[other].add(one)
        if len(left) == len(stubs) and _is_stuck(left, neighbours):
            return None
        stubs = left
    return neighbours


def _is_stuck(stubs: Sequence[int], neighbours: Sequence[set[int]]) -> bool:
    ends = set(stubs)
    return not any(ends - neighbours[one] - {one} for one in ends)


def _is_connected(neighbours: Sequence[set[int]]) -> bool:
    reached, border = {0}, [0]
    while border:
        found = neighbours[border.pop()] - reached
        reached |= found
        border += found
    return len(reached) == len(neighbours)
