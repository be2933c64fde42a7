"""Scenarios: files to dataclasses and back, settings on the command line, and what users get wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipllm.mistakes import UserMistake
from gossipllm.settings import commented_toml, read_toml
from sim.scenarios import DEFAULT, Scenario, load_scenario, shipped


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_reads_and_its_resolved_form_reads_back_the_same(name, tmp_path):
    scenario = load_scenario(name)
    file = tmp_path / "resolved.toml"
    file.write_text(commented_toml(scenario), encoding="utf-8")
    assert read_toml(file, Scenario) == scenario
    assert scenario.name == name


def test_the_default_comes_first_in_the_list():
    assert next(iter(shipped())) == DEFAULT


def test_settings_change_single_keys_in_the_syntax_of_toml():
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
        ('conditions.churn.late=["peer-9 at 3"]', "no peer is called 'peer-9'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(setting, part):
    with pytest.raises(UserMistake) as mistake:
        load_scenario(DEFAULT, [setting])
    assert part in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [("langages", "did you mean languages?"), ("gone.toml", "no such file"), ("some/where", "no such file")],
)
def test_a_scenario_that_is_not_there_is_told_what_is(name, part):
    with pytest.raises(UserMistake, match=part.replace("?", r"\?")):
        load_scenario(name)


def test_the_learning_rate_falls_over_the_run_unless_its_length_is_given():
    scenario = load_scenario(DEFAULT, ["round.steps=5", "round.rounds=4"])
    assert scenario.annealed.decay_steps == 20
    assert load_scenario(DEFAULT, ["training.decay_steps=7"]).annealed.decay_steps == 7
    assert load_scenario(DEFAULT, ["anneal=false"]).annealed.decay_steps == 0
