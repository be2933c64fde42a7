"""The folder of a study: one JSON file a cell, so that a study that was stopped goes on where it was.

study.json       what all cells have in common; a folder holds one study
NAME.json        a cell (`Setting.name`)
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from sim.experiments.results import write_json
from sim.study.cells import CellResult
from sim.study.settings import Setting
from sim.study.study import StudyConfig
from trust.errors import UserMistake

_STUDY: Final = "study.json"


def begin(out: Path, study: StudyConfig) -> None:
    """Make the folder, or go on with the one that is there. Raises `UserMistake` for that of another study."""
    try:
        # Settings that an earlier version did not have, have their defaults.
        found = msgspec.json.decode((out / _STUDY).read_bytes(), type=StudyConfig)
    except FileNotFoundError:
        if out.exists() and any(out.iterdir()):
            raise UserMistake(f"{out} holds no study; choose another folder with --out") from None
        write_json(out / _STUDY, asdict(study))
        return
    except (OSError, msgspec.DecodeError) as error:
        raise UserMistake(f"{out / _STUDY}: {error}") from None
    if found != study:
        raise UserMistake(f"{out} holds a study with other settings; choose another folder with --out")


def keep(out: Path, setting: Setting, result: CellResult) -> None:
    write_json(_file(out, setting), result)


def all_kept(out: Path) -> dict[Setting, CellResult]:
    """All cells of the folder; damaged files are passed over."""
    found: dict[Setting, CellResult] = {}
    for file in sorted(out.glob("*-round*.json")):
        try:
            result = msgspec.json.decode(file.read_bytes(), type=CellResult)
        except msgspec.DecodeError:
            continue
        found[Setting(**result.setting)] = result
    return found


def _file(out: Path, setting: Setting) -> Path:
    return out / f"{setting.name}.json"
