"""Laws of random regular graphs, and the worlds that are built on them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.core.config import CoreConfig
from sim.toy.adding import add_toy
from sim.world.conditions import Conditions, TopologyConfig
from sim.world.links.topology import random_regular
from sim.world.world import World


@given(st.integers(3, 40), st.integers(2, 8), st.integers(0, 100))
def test_every_peer_has_the_same_degree_and_is_reachable(peers: int, degree: int, seed: int) -> None:
    if degree >= peers or peers * degree % 2:
        with pytest.raises(ValueError, match="degree"):
            random_regular(peers, degree, random.Random(seed))
        return
    graph = random_regular(peers, degree, random.Random(seed))
    assert all(len(one) == len(set(one)) == degree for one in graph)
    assert all(one in graph[other] and one != other for one in range(peers) for other in graph[one])
    reached = {0}
    while True:
        further = reached | {other for one in reached for other in graph[one]}
        if further == reached:
            break
        reached = further
    assert len(reached) == peers


def test_equal_seeds_give_equal_graphs() -> None:
    graphs = [random_regular(30, 4, random.Random(seed)) for seed in (1, 1, 2)]
    assert graphs[0] == graphs[1] != graphs[2]


def test_a_world_connects_the_neighbours_of_its_graph() -> None:
    world = World(conditions=Conditions(topology=TopologyConfig(kind="random", degree=2)))
    for number in range(6):
        add_toy(world, CoreConfig(name=f"peer-{number}"), [0.0] * 4)
    world.begin()
    assert all(len(node.links) == 2 for node in world.nodes)
    with pytest.raises(ValueError, match="add all peers before"):
        add_toy(world, CoreConfig(name="late"), [0.0] * 4)
