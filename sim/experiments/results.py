"""The results folder of a scenario: its layout, and which of its runs need not be repeated.

    scenario.toml          the scenario as it was resolved
    versions.json          of Python and the libraries
    METHOD/seed-N/         a run:
        history.msgpack      all peers' records, in the format of a peer's own history
        events.jsonl.gz      a line for each event of a peer, with the effects that its core asked for
        metrics.json         the numbers of the run (`sim.experiments.measuring.metrics`)
        run.json             the digest of its configuration; written last
        clock.json           seconds of wall clock and processor
    table.json, table.md   the comparison (`sim.comparison.summary`, `sim.comparison.tables`); pictures beside them

Equal configurations and seeds give equal bytes in every file but versions.json, clock.json and clocks.json. A run's
folder is written under another name and renamed when it is complete.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import platform
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from gossipllm import __version__
from gossipllm.base import MODELS
from gossipllm.config import EMBEDDED
from gossipllm.config.toml import commented_toml
from sim.experiments.measuring.metrics import SCHEMA, RunMetrics
from sim.experiments.methods import method_named
from sim.experiments.scenarios import Scenario
from sim.experiments.texts import check_sources
from sim.world.agenda import EPOCH
from sim.world.trace import Happened
from trust.errors import UserMistake
from trust.files import write_whole
from trust.record.history import HISTORY_FILE, Entry
from trust.record.writer import HistoryWriter
from wire.digest import Content

SCENARIO: Final = "scenario.toml"
METRICS: Final = "metrics.json"
CLOCK: Final = "clock.json"
_RUN: Final = "run.json"
_EVENTS: Final = "events.jsonl.gz"
_REPEATABLE: Final = (HISTORY_FILE, _EVENTS, METRICS, _RUN)
_PACKAGES: Final = ("sim", "peers", "gossipllm", "trust", "wire")
_LIBRARIES: Final = ("torch", "transformers", "tokenizers", "numpy", "msgspec")
_SHOWING: Final = (
    "gossipllm/commands/",
    "sim/attacks/",
    "sim/cli.py",
    "sim/comparison/",
    "sim/reporting/",
    "sim/study/",
    "sim/experiments/processes/progress.py",
    "sim/experiments/reading.py",
    "sim/experiments/results.py",
    "sim/experiments/scenario_files.py",
    "trust/inspection/",
    "peers/commands/",
    "peers/home/",
    "peers/net/",
    "peers/run/",
)
"""Sources that have no part in a run: results stay valid when these change. A test checks that no run loads them."""


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `run.json`."""

    schema: int = SCHEMA
    configuration: str


class RunTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `clock.json`: seconds that the run took, by the wall clock and of processor time."""

    wall_s: float
    cpu_s: float


def begin_results(out: Path, scenario: Scenario) -> None:
    """Write the resolved scenario into the folder. Raises `UserMistake` for a folder that holds something else."""
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / SCENARIO).is_file())):
        raise UserMistake(f"{out} holds no results of a simulation; choose another folder with -o")
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Left by runs that were stopped.
        for part in out.glob("*/seed-*.part"):
            shutil.rmtree(part, ignore_errors=True)
        write_whole(out / SCENARIO, lambda file: file.write(commented_toml(scenario).encode()))
        write_json(out / "versions.json", versions())
    except OSError as error:
        raise UserMistake(f"{out}: {error.strerror}") from None


def run_folder(out: Path, method: str, seed: int) -> Path:
    return out / method.replace("*", "x") / f"seed-{seed}"


def configurations(scenario: Scenario) -> dict[tuple[str, int], str]:
    """(method, seed) -> a digest over everything that the run's results depend on.

    It covers the texts, the base model's files (of a model from a hub only its name), this project's code and the
    versions of the libraries. Raises `UserMistake` where a text is missing.
    """
    about = commented_toml(replace(scenario, name="any", seeds=(0,), methods=("local",)))
    common = (
        about,
        check_sources(scenario.data.sources),
        "" if scenario.reference.source == EMBEDDED else check_sources((scenario.reference.source,)),
        _model_digest(scenario),
        _code_digest(),
        *versions(),
    )
    return {
        (name, seed): _digest(*map(str, (*common, method_named(name), seed)))
        for name in scenario.methods
        for seed in scenario.seeds
    }


def finished_run(folder: Path, configuration: str) -> tuple[RunMetrics, RunTimes] | None:
    """The results in the folder, or None where they are missing, damaged or of another configuration."""
    try:
        if msgspec.json.decode((folder / _RUN).read_bytes(), type=RunFile).configuration != configuration:
            return None
        metrics = msgspec.json.decode((folder / METRICS).read_bytes(), type=RunMetrics)
        return metrics, msgspec.json.decode((folder / CLOCK).read_bytes(), type=RunTimes)
    except (OSError, msgspec.DecodeError):
        return None


class RunWriter:
    """Writes a run's folder under a temporary name, and renames it when it is complete."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self._folder = folder
        self._configuration = configuration
        self._part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        self._began = time.perf_counter(), time.process_time()
        # A fixed time and no name in the header, so that equal events give equal bytes.
        self._events = gzip.GzipFile("", "wb", 6, (self._part / _EVENTS).open("wb"), mtime=0)

    def events(self, happened: Iterable[Happened]) -> None:
        self._events.writelines(map(_line, happened))

    def finish(self, metrics: RunMetrics, entries: Sequence[Entry]) -> RunTimes:
        """Complete the folder and move it to its place, replacing an earlier run there."""
        raw = self._events.fileobj
        self._events.close()
        if isinstance(raw, io.IOBase):
            raw.close()
        with HistoryWriter(self._part / HISTORY_FILE, peer="", now=EPOCH) as history:
            for entry in entries:
                history.append(entry)
        wall, cpu = self._began
        clock = RunTimes(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
        write_json(self._part / METRICS, metrics)
        write_json(self._part / CLOCK, clock)
        write_json(self._part / _RUN, RunFile(configuration=self._configuration))
        shutil.rmtree(self._folder, ignore_errors=True)
        self._part.replace(self._folder)
        return clock


def write_json(path: Path, value: object) -> None:
    """Write a file whole, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"
    write_whole(path, lambda file: file.write(data))


def results_digest(out: Path, folders: Iterable[Path], tables: Iterable[str]) -> str:
    """One digest over the files of these runs and tables that equal runs write with equal bytes."""
    paths = [folder / name for folder in folders for name in _REPEATABLE] + [out / name for name in tables]
    lines = sorted(
        f"{path.relative_to(out).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in paths
    )
    return _digest(*lines)


def traces_digest(runs: Iterable[RunMetrics]) -> str:
    """One digest over the traces of all runs."""
    return _digest(*sorted(f"{run.method} {run.seed} {run.trace}" for run in runs))


def versions() -> tuple[str, ...]:
    libraries = (f"{name} {version(name)}" for name in _LIBRARIES)
    return (f"gossipllm {__version__}", f"python {platform.python_version()}", *libraries)


def _code_digest() -> str:
    found: list[tuple[str, Path]] = []
    for package in _PACKAGES:
        root = files(package)
        assert isinstance(root, Path), "the package is installed as files, never inside an archive"
        found += [(f"{package}/{file.relative_to(root).as_posix()}", file) for file in root.rglob("*.py")]
    lines = (
        f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for name, file in sorted(found)
        if not name.startswith(_SHOWING)
    )
    return _digest(*lines)


def _model_digest(scenario: Scenario) -> str:
    """A digest over the names, sizes and times of the model's files: reading gigabytes would take minutes."""
    folder = Path(scenario.model.name).expanduser()
    if scenario.model.name in MODELS or not folder.is_dir():
        return ""
    stats = ((file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file())
    return _digest(*(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _line(happened: Happened) -> bytes:
    line = {
        "at": round(happened.at - EPOCH, 6),
        "peer": happened.peer,
        "life": happened.life,
        "event": _shown(happened.event),
        "effects": [_shown(effect) for effect in happened.effects],
    }
    return msgspec.json.encode(line) + b"\n"


def _shown(what: Any) -> dict[str, object]:
    """An event or effect as a JSON object: its kind and its fields, contents by digest, other bulk by its length."""
    names = [field.name for field in fields(what)] if is_dataclass(what) else what.__struct_fields__
    shown: dict[str, object] = {"kind": type(what).__name__}
    for name in names:
        value: object = getattr(what, name)
        match value:
            case bool() | int() | float() | str() | None:
                shown[name] = value
            case Content():
                shown[name] = value.digest.hex()[:12]
            case Enum():
                shown[name] = value.value
            case bytes():
                shown[name] = value.hex()[:12] if len(value) <= 32 else len(value)
            case tuple():
                shown[name] = _short(cast("tuple[Any, ...]", value))
            case _:
                shown[name] = type(value).__name__
    return shown


def _short(values: tuple[Any, ...]) -> object:
    """Numbers as they are, contents by digest, and of anything else the count."""
    if all(isinstance(value, int | float) for value in values):
        return list(values)
    if all(isinstance(value, Content) for value in values):
        return [value.digest.hex()[:12] for value in values]
    return len(values)
