"""Examining a family: all trials on its tiny model."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

from support.zoo.folders import NotMade, write_model
from support.zoo.table import Outcome
from support.zoo.trials import TRIALS, Wrong, tried


def examined(family: str) -> Outcome:
    refused: dict[str, str] = {}
    wrong: dict[str, str] = {}
    left: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        try:
            write_model(family, model)
        except NotMade as why:
            return Outcome(family, {}, (), {}, str(why))
        for trial in TRIALS:
            place = Path(folder) / trial.name
            place.mkdir()
            try:
                refused[trial.name], coverage = tried(trial, model, place)
            except Wrong as error:
                wrong[trial.name], coverage = str(error), None
            except Exception:  # noqa: BLE001  a crash is what the zoo looks for: reported, with the next family following
                wrong[trial.name], coverage = traceback.format_exc(limit=-3), None
            if coverage is not None and trial.name in ("both", "full"):
                prefix = "" if trial.name == "both" else 'with "full" '
                left += [prefix + line for line in coverage.lines()]
    return Outcome(family, refused, tuple(left), wrong)
