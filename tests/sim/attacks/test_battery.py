"""Which runs a battery consists of."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.adversaries.config import NONE, AttackConfig
from sim.adversaries.table import ADVERSARIES
from sim.attacks.battery import ALONE, BatteryConfig, Cell, cells, peaceful_cell, scenario_of, tasks
from trust.errors import UserMistake

SMALL = BatteryConfig(methods=("s3", "s2"), attacks=("bait", "huge"), attackers=(1.0, 0.5), seeds=(4, 1))


def test_every_attack_meets_every_method_by_every_number_of_attackers() -> None:
    assert len(list(cells(BatteryConfig()))) == len(ADVERSARIES) * 4 * 3
    assert list(cells(SMALL))[:3] == [
        Cell("bait", 1.0, "s3"),
        Cell("bait", 1.0, "s2"),
        Cell("bait", 0.5, "s3"),
    ]


def test_a_battery_also_runs_each_method_in_peace_and_each_peer_alone(tmp_path: Path) -> None:
    found = tasks(SMALL, tmp_path, tmp_path / "base")

    assert set(found) == {
        (cell, seed)
        for seed in (4, 1)
        for cell in (*cells(SMALL), peaceful_cell(ALONE), peaceful_cell("s3"), peaceful_cell("s2"))
    }
    assert len({task.folder for task in found.values()}) == len(found)
    assert len({task.configuration for task in found.values()}) == len(found)


def test_seeds_come_one_after_the_other_and_peace_first(tmp_path: Path) -> None:
    """So that an interrupted battery has whole rows of the first seeds."""
    order = list(tasks(SMALL, tmp_path, tmp_path / "base"))

    assert [seed for _, seed in order] == [4] * 11 + [1] * 11
    assert [cell.attack for cell, _ in order[:3]] == [NONE] * 3


def test_a_run_of_a_battery_is_under_the_attack_of_its_cell(tmp_path: Path) -> None:
    for (cell, seed), task in tasks(SMALL, tmp_path, tmp_path / "base").items():
        assert task.scenario.attack.name == cell.attack
        assert task.scenario.attackers == {0.0: 0, 1.0: 1, 0.5: 7}[cell.attackers]
        assert (task.method, task.seed) == (cell.method, seed)


def test_settings_change_the_scenario_of_every_run(tmp_path: Path) -> None:
    config = BatteryConfig(methods=("s3",), attacks=("bait",), settings=("adapter.rank=2",))

    assert {task.scenario.adapter.rank for task in tasks(config, tmp_path, tmp_path).values()} == {2}


def test_a_setting_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    config = BatteryConfig(methods=("s3",), attacks=("bait",), settings=("layers.count=1",))

    with pytest.raises(UserMistake, match="changes nothing"):
        tasks(config, tmp_path, tmp_path)


def test_mere_identities_have_no_cores(tmp_path: Path) -> None:
    attack = AttackConfig(name="sybils", attackers=1000.0)
    scenario = scenario_of(tmp_path, attack, ("s3",), (0,))

    assert (scenario.attackers, scenario.attacking_cores) == (1000, 0)


@pytest.mark.parametrize("field", ["methods", "attacks", "attackers", "seeds"])
def test_an_empty_or_repeated_choice_is_refused(field: str) -> None:
    for values in ((), (1, 1)):
        with pytest.raises(ValueError, match=field):
            BatteryConfig(**{field: values})  # pyright: ignore[reportArgumentType]
