"""The conditions of a world as a user writes them in a scenario file."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from typing import Any

import pytest

from gossipllm.config.toml import commented_toml, from_mapping
from peers.core.config import CoreConfig
from sim.toy.adding import add_toy
from sim.world.churn_phrases import JoinPhrase, OutagePhrase, SplitPhrase, joining, outage, split
from sim.world.conditions import ChurnConfig, ComputeConfig, Conditions, LinkConfig, TopologyConfig
from sim.world.world import World
from trust.errors import UserMistake

FULL = Conditions(
    link=LinkConfig(latency_s=0.1, jitter_s=0, loss=0.25, bandwidth_bytes_s=1e6, disk_s=1.0),
    compute=ComputeConfig(step_s=0.5, answer_s=1.0, speeds=(1.0, 0.5)),
    topology=TopologyConfig(kind="random", degree=6, relay=False),
    churn=ChurnConfig(
        late=("peer-8 at 40",),
        outages=("peer-3 from 20 to 60",),
        cuts=("peer-0 peer-1 | peer-2 from 10 to 30",),
        crashes_per_hour=2.0,
    ),
)


@pytest.mark.parametrize("conditions", [Conditions(), FULL])
def test_conditions_survive_their_file(conditions: Conditions) -> None:
    text = commented_toml(conditions)
    assert from_mapping(Conditions, tomllib.loads(text), "test") == conditions


def test_every_field_is_explained() -> None:
    lines = commented_toml(Conditions()).splitlines()
    for before, line in pairwise(lines):
        assert " = " not in line or before.startswith("#"), line


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: LinkConfig(latency_s=-1), "latency_s"),
        (lambda: LinkConfig(jitter_s=float("nan")), "jitter_s"),
        (lambda: LinkConfig(loss=1.0), "loss"),
        (lambda: LinkConfig(bandwidth_bytes_s=-1), "bandwidth_bytes_s"),
        (lambda: LinkConfig(disk_s=float("inf")), "disk_s"),
        (lambda: ComputeConfig(step_s=0), "step_s"),
        (lambda: ComputeConfig(answer_s=-0.1), "answer_s"),
        (lambda: ComputeConfig(speeds=()), "speeds"),
        (lambda: ComputeConfig(speeds=(1.0, 0.0)), "speeds"),
        (lambda: TopologyConfig(kind="ring"), "kind"),  # type: ignore[arg-type]
        (lambda: TopologyConfig(degree=1), "degree"),
        (lambda: ChurnConfig(crashes_per_hour=-1), "crashes_per_hour"),
        (lambda: ChurnConfig(downtime_s=0), "downtime_s"),
    ],
)
def test_an_impossible_value_is_refused_with_the_name_of_its_field(make: Any, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} must "):
        make()


def test_churn_phrases_name_peers_and_times() -> None:
    assert joining("peer-8 at 40") == JoinPhrase("peer-8", 40.0)
    assert outage("peer-3 from 20 to 60.5") == OutagePhrase("peer-3", 20.0, 60.5)
    groups = (frozenset({"a", "b"}), frozenset({"c"}), frozenset({"d"}))
    assert split("a b | c | d from 0 to 1") == SplitPhrase(groups, 0.0, 1.0)


@pytest.mark.parametrize(
    ("churn", "line"),
    [
        ({"late": ("peer-8 from 40",)}, """late must be like "peer-8 at 40", got 'peer-8 from 40'"""),
        (
            {"late": ("peer-8 at noon",)},
            "late times must be seconds in 0..1e9, got 'noon' in 'peer-8 at noon'",
        ),
        ({"outages": ("a from 2 to 2",)}, "outages must end after it begins, got 'a from 2 to 2'"),
        ({"outages": ("a b from 2 to 3",)}, "outages must be like"),
        ({"cuts": ("a from 2 to 3",)}, "cuts must be like"),
        ({"cuts": ("a | from 2 to 3",)}, "cuts must name a peer on each side of every |"),
        ({"cuts": ("a | b a from 2 to 3",)}, "cuts must name each peer once"),
        ({"cuts": ("a | b from -1 to 3",)}, "cuts times must be seconds"),
    ],
)
def test_a_malformed_churn_phrase_is_refused_in_one_line(churn: dict[str, Any], line: str) -> None:
    with pytest.raises(UserMistake) as caught:
        from_mapping(ChurnConfig, {name: list(value) for name, value in churn.items()}, "world.toml")
    assert str(caught.value).startswith(f"world.toml: {line}")
    assert "\n" not in str(caught.value)


def test_unknown_peers_in_churn_are_named_before_anything_happens() -> None:
    world = World(conditions=Conditions(churn=ChurnConfig(late=("peer-3 at 4",))))
    for number in range(3):
        add_toy(world, CoreConfig(name=f"peer-{number}"), [0.0] * 4)
    with pytest.raises(ValueError, match=r"no peer is called 'peer-3'; there are peer-0, peer-1, peer-2"):
        world.begin()
    assert not any(node.alive for node in world.nodes)
