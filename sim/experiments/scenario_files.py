"""Scenario files: one that ships or a user's own, with `key=value` settings on top.

A setting that no run would read is refused (`reading.py`). A setting given on the command line must be read by the
methods that run. One in a file must be read by these or by the file's own methods, so that a part of a file's methods
can be run alone. Defaults in a file are never refused: the `scenario.toml` beside results names all settings, and can
be run again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from gossipllm.config.toml import commented_toml, from_mapping, read_toml
from sim.experiments.methods import suggestion
from sim.experiments.reading import changed_keys, check_read
from sim.experiments.scenarios import DEFAULT, Scenario
from trust.errors import UserMistake


def load_scenario(name: str, settings: Iterable[str] = ()) -> Scenario:
    """A scenario by the path of its file, or by the name of one that ships; then `key=value` settings.

    Raises `UserMistake`, also for a setting that changes nothing.
    """
    file = _file(name)
    scenario = read_toml(file, Scenario)
    resolved = with_settings(scenario, settings)
    check_read((scenario, resolved), changed_keys(scenario), name)
    return resolved


def with_settings(scenario: Scenario, settings: Iterable[str]) -> Scenario:
    """The scenario with `key=value` settings.

    Keys are dotted, values TOML; what is no TOML is taken as text, so that `partition.kind=iid` needs no
    quotes in a shell. Raises `UserMistake`, also for a setting that changes nothing.
    """
    assignments = [_assignment(setting) for setting in settings]
    if not assignments:
        return scenario
    values = tomllib.loads(commented_toml(scenario))
    for key, value in assignments:
        _assign(values, key, value)
    resolved = from_mapping(Scenario, values, "--set")
    check_read((resolved,), (key for key, _ in assignments), "--set")
    return resolved


def shipped() -> dict[str, Path]:
    """Name -> file of the scenarios in the package, the default first."""
    folder = files("sim") / "scenarios"
    assert isinstance(folder, Path), "the package is installed as files, never inside an archive"
    found = sorted(folder.glob("*.toml"), key=lambda file: (file.stem != DEFAULT, file.stem))
    return {file.stem: file for file in found}


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = shipped()
    if name in known:
        return known[name]
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise UserMistake(f"{name}: there is no such file")
    raise UserMistake(
        f"there is no scenario {name!r}, {suggestion(name, known)}; or give a .toml of your own"
    )


def _assignment(setting: str) -> tuple[str, object]:
    key, equals, text = setting.partition("=")
    if not (key.strip() and equals):
        raise UserMistake(f"--set {setting}: must be KEY=VALUE, such as --set round.steps=20")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text


def _assign(values: dict[str, Any], key: str, value: object) -> None:
    """Put `value` at the dotted key. Raises `UserMistake` where a table on the way is unknown."""
    *path, last = key.split(".")
    table = values
    for depth, part in enumerate(path):
        inside = table.get(part)
        if not isinstance(inside, dict):
            known = [name for name, held in table.items() if isinstance(held, dict)]
            where = ".".join(path[: depth + 1])
            raise UserMistake(f"--set {key}: {where} is no table, {suggestion(part, known)}")
        table = cast("dict[str, Any]", inside)
    table[last] = value
