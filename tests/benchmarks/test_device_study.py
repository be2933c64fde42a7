"""The device study goes on where it stopped, stops between two cells, and says what never came to the target."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sim.experiments.processes.process_pool import Finished
from sim.study.cells import CellResult, CellTask
from sim.study.course import Point
from sim.study.settings import Setting
from tests.support.benchmark_scripts import load
from trust.errors import UserMistake

script = load("device_study")
SMALL = ["--axis", "batch=1,2,4", "--axis", "rate=4e-3", "--axis", "tokens=512", "--axis", "schedule=flat"]
ONE_FLEET = [*SMALL, "--axis", "merge=mean", "--axis", "fleet=equal"]


class Pool:
    """Performs cells at once: a batch of 4 never comes to what a batch of 2 does."""

    def __init__(self) -> None:
        self.asked: list[Setting] = []
        self.clock = 0.0

    def perform(self, function: str, tasks: Sequence[CellTask], *, jobs: int) -> Generator[Finished]:
        assert function == "sim.study.cells:perform"
        assert jobs == 1
        for number, task in enumerate(tasks):
            self.asked.append(task.setting)
            self.clock += 60.0
            yield Finished(number, self._result(task))

    def _result(self, task: CellTask) -> CellResult:
        loss = 6.0 if task.setting.batch == 4 else 5.0
        tokens = task.study.budget
        end = Point(seconds=10.0 * task.setting.batch, tokens=tokens, bytes=1, joules=1.0, loss=loss)
        start = Point(seconds=0.0, tokens=0, bytes=0, joules=0.0, loss=7.0)
        return CellResult(
            setting={name: getattr(task.setting, name) for name in Setting.__dataclass_fields__},
            course=(start, end),
            waited=(0.1,),
            speeds=(1.0,),
            processor_s=1.0,
        )


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool()
    monkeypatch.setattr(script, "perform_all", pool.perform)
    monkeypatch.setattr(script.time, "monotonic", lambda: pool.clock)
    return pool


def ran(out: Path, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["device_study.py", "--out", str(out), *map(str, arguments)])
    script.main()


def test_a_cell_that_is_there_is_not_run_again(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(tmp_path / "out", monkeypatch, *ONE_FLEET)
    assert sorted(one.batch for one in pool.asked) == [1, 2, 4]
    ran(tmp_path / "out", monkeypatch, *ONE_FLEET)
    assert len(pool.asked) == 3
    assert (tmp_path / "out" / "fronts.png").is_file()


def test_minutes_end_the_study_between_two_cells(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tmp_path / "out", monkeypatch, *ONE_FLEET, "--minutes", 1.5)
    assert len(pool.asked) == 2
    assert "2 cells, seed 0" in capsys.readouterr().out


def test_what_never_came_to_the_target_is_said(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tmp_path / "out", monkeypatch, *ONE_FLEET)
    told = capsys.readouterr().out
    assert "costs to a validation loss of 5.000" in told
    assert "equal: 1 of 3 cells never came to a loss of 5.000" in told


def test_a_target_that_no_cell_reached_leaves_no_front(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tmp_path / "out", monkeypatch, *ONE_FLEET, "--target", 1.0)
    assert "equal: 3 of 3 cells never came to a loss of 1.000" in capsys.readouterr().out
    assert pool.asked


@pytest.mark.parametrize("wrong", [("--axis", "fleet=slow"), ("--budget", "3"), ("--axis", "rate=7")])
def test_a_mistake_is_one_line_before_anything_runs(
    wrong: tuple[str, str], tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserMistake) as mistake:
        ran(tmp_path / "out", monkeypatch, *wrong)
    assert "\n" not in str(mistake.value)
    assert not pool.asked


def test_the_time_that_the_summed_speed_would_allow_is_arithmetic_alone(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tmp_path / "out", monkeypatch, *ONE_FLEET)
    # 32,768 tokens by eight devices of 100 tokens a second, and 0.12 s for each of 32 steps of 128 tokens.
    least_s = 32_768 / 8 / 100 + 32 * 0.12
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| equal | 10.0 |"))
    assert math.isclose(float(row.split(" | ")[2]), 10.0 / least_s, abs_tol=0.01)
