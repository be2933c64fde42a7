"""Scenarios: files to dataclasses and back, settings on the command line, and user errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gossipllm.config.toml import commented_toml, read_toml
from sim.experiments.configurations import learner_config
from sim.experiments.methods import method_named
from sim.experiments.scenario_files import load_scenario, shipped
from sim.experiments.scenarios import DEFAULT, Scenario
from trust.errors import UserMistake


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_reads_and_its_resolved_form_reads_back_the_same(
    name: str, tmp_path: Path
) -> None:
    scenario = load_scenario(name)
    file = tmp_path / "resolved.toml"
    file.write_text(commented_toml(scenario), encoding="utf-8")
    assert read_toml(file, Scenario) == scenario
    assert scenario.name == name


def test_the_default_comes_first_in_the_list() -> None:
    assert next(iter(shipped())) == DEFAULT


def test_settings_change_single_keys_in_the_syntax_of_toml() -> None:
    scenario = load_scenario(
        DEFAULT,
        ["round.steps=3", "data.partition.kind=iid", 'methods=["local", "s2"]', "conditions.link.loss=0.5"],
    )
    assert scenario.round.steps == 3
    assert scenario.data.partition.kind == "iid"
    assert scenario.methods == ("local", "s2")
    assert scenario.conditions.link.loss == 0.5
    before = load_scenario(DEFAULT)
    assert scenario.training == before.training
    assert replace(scenario.round, steps=before.round.steps) == before.round


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("round.stepz=3", "round.stepz: unknown key, did you mean steps?"),
        ("rond.steps=3", "rond is no table, did you mean round?"),
        ("peers.many=3", "peers is no table"),
        ("round.steps=many", "round.steps: must be a whole number, got 'many'"),
        ("data.partition.kind=idd", 'did you mean "iid"?'),
        ("peers", "must be KEY=VALUE"),
        ('methods=["s4"]', "known are local"),
        ("peers=1", "peers must be in 2..10000, got 1"),
        ("seeds=[1, 1]", "seeds must be different"),
        ("round.rounds=0", "round.rounds must be in 1.."),
        ("training.warmup_steps=30", "must be below the 30 steps of the run"),
        (
            'methods=["s3+layers"]',
            "method s3+layers: layers.count, layers.memory_mb or devices.blocks must say",
        ),
        ('methods=["s3+heads"]', "method s3+heads: heads.copies must be at least 1, got 0"),
        (
            "devices.ranks=[2, 16]",
            "method fedavg: devices.ranks must be equal where A and B are averaged apart",
        ),
        ("devices.ranks=[0]", "devices: ranks must each be in 1..256, got 0"),
        ("devices.trust_public=[1.0]", "devices: trust_public must each be in 0..0.9, got 1.0"),
        ("devices.train_public=[-0.5]", "devices: train_public must each be in 0..0.9, got -0.5"),
        ("devices.blocks=[1, 257]", "devices: blocks must each be in 0..256, got 1, 257"),
        (
            'devices.modules=["q_proj q_proj"]',
            "devices: modules must name each of a set once, got 'q_proj q_proj'",
        ),
        ('data.sources=["embedded:fr", "lines:embedded:de"]', "sources must be all texts or all samples"),
        ('data.sources=["e2e:"]', "write e2e:PATH"),
        ("data.trust_samples=1", "data: trust_samples must be in 2..4096, got 1"),
        ('merge="nearest"', 'merge: must be one of "svd", "mean", "pad", "krum",'),
        ('conditions.churn.late=["peer-9 at 3"]', "no peer is called 'peer-9'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(setting: str, part: str) -> None:
    with pytest.raises(UserMistake) as mistake:
        load_scenario(DEFAULT, [setting])
    assert part in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [("langages", "did you mean languages?"), ("gone.toml", "no such file"), ("some/where", "no such file")],
)
def test_an_unknown_scenario_is_answered_with_the_known_ones(name: str, part: str) -> None:
    with pytest.raises(UserMistake, match=part.replace("?", r"\?")):
        load_scenario(name)


def test_the_learning_rate_falls_over_the_run_unless_its_length_is_given() -> None:
    scenario = load_scenario(DEFAULT, ["round.steps=5", "round.rounds=4"])
    assert scenario.annealed_of(0).decay_steps == 20
    assert load_scenario(DEFAULT, ["training.decay_steps=7"]).annealed_of(0).decay_steps == 7
    assert load_scenario(DEFAULT, ["anneal=false"]).annealed_of(0).decay_steps == 0


def test_lists_of_devices_are_cycled_over_the_peers() -> None:
    settings = ["devices.ranks=[2, 16]", 'devices.modules=["q_proj v_proj", ""]', 'methods=["s3"]']
    scenario = load_scenario(DEFAULT, settings)
    adapters = [scenario.learner(method_named("s3"), index).adapter for index in range(3)]
    assert [one.rank for one in adapters] == [2, 16, 2]
    assert [one.modules for one in adapters] == [("q_proj", "v_proj"), (), ("q_proj", "v_proj")]
    assert {one.most_rank for one in adapters} == {64}
    assert [scenario.label(index) for index in range(2)] == ["rank 2, q_proj v_proj", "rank 16, all modules"]


def test_public_text_is_for_methods_that_predict_on_windows_of_bytes() -> None:
    settings = [
        "devices.trust_public=[0.0, 0.5]",
        "devices.train_public=[0.25]",
        'devices.public_like=["own", "any"]',
        'methods=["local", "s3", "s3-code"]',
    ]
    scenario = load_scenario(DEFAULT, settings)

    def parts(name: str) -> list[tuple[float, float, str]]:
        configs = [learner_config(scenario, method_named(name), 0, index) for index in range(3)]
        return [(one.data.trust_public, one.data.train_public, one.data.public_like) for one in configs]

    assert parts("s3") == [(0.0, 0.25, "own"), (0.5, 0.25, "any"), (0.0, 0.25, "own")]
    assert parts("s3-code") == parts("local") == [(0.0, 0.0, "any")] * 3


def test_blocks_and_capacities_are_for_methods_that_deal_out_blocks_and_heads() -> None:
    settings = [
        "devices.blocks=[1, 0]",
        "devices.capacities=[1, 3]",
        "heads.copies=2",
        'methods=["s3", "s3+layers", "s3+heads"]',
    ]
    scenario = load_scenario(DEFAULT, settings)
    windows = {
        name: [scenario.learner(method_named(name), index).layers.count for index in range(2)]
        for name in ("s3", "s3+layers")
    }
    parts = {
        name: [scenario.learner(method_named(name), index).heads.capacity for index in range(2)]
        for name in ("s3", "s3+heads")
    }
    assert windows == {"s3": [0, 0], "s3+layers": [1, 0]}
    assert parts == {"s3": [100, 100], "s3+heads": [1, 3]}


def test_a_peer_that_trains_all_blocks_needs_no_context() -> None:
    settings = ["devices.blocks=[1, 0]", "layers.count=1", 'layers.context="int8"', 'methods=["s3+layers"]']
    scenario = load_scenario(DEFAULT, settings)
    learners = [scenario.learner(method_named("s3+layers"), index) for index in range(2)]
    assert [one.layers.context for one in learners] == ["int8", "none"]


def test_peers_whose_samples_differ_in_length_are_named_for_it() -> None:
    scenario = load_scenario("tokens")
    assert [scenario.label(index) for index in range(6)] == [
        "short", "short", "medium", "medium", "long", "long"
    ]  # fmt: skip
    assert load_scenario(DEFAULT).label(0) == ""


@pytest.mark.parametrize("change", ["defence.confirm=false", "defence.bind_rows=0", "round.guard=false"])
def test_nobody_distils_what_was_not_held_against_an_update(change: str) -> None:
    with pytest.raises(
        UserMistake, match=r"method s1\+distil: distilling needs round\.guard, defence\.confirm and"
    ):
        load_scenario(DEFAULT, ['methods=["s1+distil", "s1"]', change])
