"""A simulated network of two tokenizers: byte rows are announced, fetched and compared, and nothing of them merged."""

from __future__ import annotations

import pytest

from gossipllm.config import LearnerConfig
from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from sim.toy.adding import add_toy
from sim.world.conditions import ComputeConfig, Conditions
from sim.world.world import World
from trust.record.history import Round

BASES = ("toy", "toy", "tongue:one", "tongue:one", "tongue:two")


@pytest.fixture
def world() -> World:
    """Every peer has a lean of its own; three hold bases of another tokenizer than the first two."""
    made = World(seed=1, conditions=Conditions(compute=ComputeConfig(step_s=0.5, answer_s=0.0)))
    for number, base in enumerate(BASES):
        config = CoreConfig(
            name=f"p{number}",
            round=RoundConfig(steps=2, rounds=5, compare_every_s=5.0),
            defence=DefenceConfig(fruitless=0),
        )
        add_toy(made, config, (1.0, 1.0, 1.0, 1.0), lean=(0.3 * number, 0.0, -0.2 * number, 0.1), base=base)
    made.begin()
    made.run(seconds=120.0)
    return made


def test_byte_rows_are_compared_from_the_round_after_another_tokenizer_was_heard(world: World) -> None:
    base_of = {node.id: base for node, base in zip(world.nodes, BASES, strict=True)}
    for node in world.nodes:
        last = node.rounds[-1]
        seen = {one.peer: one for one in last.seen}
        assert seen.keys() == base_of.keys() - {node.id}
        for peer, one in seen.items():
            tongue, other = (base_of[who].rpartition(":")[0] for who in (node.id, peer))
            assert one.by_bytes == (tongue != other)
            assert one.relation == ("merges" if base_of[peer] == base_of[node.id] else "compares")
            assert one.relation == "merges" or one.weight == 0
    assert not any(one.by_bytes for one in world.nodes[0].rounds[0].seen), "nobody was heard before"


@pytest.mark.parametrize("distils", [True, False])
def test_peers_of_different_bases_that_distil_stay_in_step_at_a_barrier(distils: bool) -> None:
    """One takes five times as long as the other."""
    world = World(seed=1, conditions=Conditions(compute=ComputeConfig(step_s=0.5, answer_s=0.0)))
    for number, base in enumerate(("toy", "other")):
        config = CoreConfig(
            name=f"p{number}",
            round=RoundConfig(steps=2, rounds=6, barrier=True, patience_s=3600.0),
            learner=LearnerConfig(also="distil" if distils else ""),
            defence=DefenceConfig(fruitless=0),
        )
        add_toy(world, config, (1.0, 1.0, float(number), 1.0), base=base, speed=1.0 - 0.8 * number)
    world.begin()
    world.run(seconds=120.0)

    sooner, later = (
        max(one.at_s for one in node.history if isinstance(one.record, Round)) for node in world.nodes
    )
    assert [len(node.rounds) for node in world.nodes] == [6, 6]
    assert (later - sooner < 2.0) == distils
    relation = "distils" if distils else "compares"
    assert [one.relation for one in world.nodes[0].rounds[-1].seen] == [relation]
