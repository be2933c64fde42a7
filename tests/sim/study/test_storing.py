"""Tests of the folder of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.study.cells import CellResult
from sim.study.course import Point
from sim.study.settings import Setting
from sim.study.storing import all_kept, begin, keep
from sim.study.study import StudyConfig
from trust.errors import UserMistake

SETTING = Setting(batch=4, rate=1.6e-2, fleet="no-wait")
RESULT = CellResult(
    setting={name: getattr(SETTING, name) for name in Setting.__dataclass_fields__},
    course=(Point(seconds=0.0, tokens=0, bytes=0, joules=0.0, loss=6.0),),
    waited=(0.1, 0.2),
    speeds=(1.0, 2.0),
    processor_s=3.0,
)


def test_a_cell_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    begin(tmp_path / "out", StudyConfig())
    keep(tmp_path / "out", SETTING, RESULT)
    begin(tmp_path / "out", StudyConfig())
    assert all_kept(tmp_path / "out") == {SETTING: RESULT}


def test_a_damaged_cell_is_measured_again(tmp_path: Path) -> None:
    begin(tmp_path / "out", StudyConfig())
    (tmp_path / "out" / f"{SETTING.name}.json").write_text("{")
    assert all_kept(tmp_path / "out") == {}


def test_a_folder_holds_one_study(tmp_path: Path) -> None:
    begin(tmp_path / "out", StudyConfig())
    (tmp_path / "out" / "study.json").write_text('{"budget": 32768}')
    begin(tmp_path / "out", StudyConfig())
    with pytest.raises(UserMistake, match="a study with other settings"):
        begin(tmp_path / "out", StudyConfig(seed=1))
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").touch()
    with pytest.raises(UserMistake, match="holds no study"):
        begin(tmp_path / "else", StudyConfig())
