"""A folder of results: what a scenario's runs leave on disk, and which of them need not run again.

    scenario.toml          the scenario as it was resolved
    versions.json          of Python and the libraries
    METHOD/seed-N/         a run:
        history.msgpack      all peers' records, in the format in which peers write theirs
        events.jsonl.gz      one line for each thing that a peer was told, with what it asked for
        metrics.json         its numbers (`sim.experiments.metrics`)
        run.json             the digest of its configuration; written last
        clock.json           seconds of the wall clock
    table.json, table.md   the comparison (`sim.comparison.summary`, `sim.comparison.tables`); pictures beside them

Equal configurations and seeds give equal bytes in every file but versions.json, and clock.json and clocks.json,
which alone know the wall clock. A run's folder appears whole or not at all.
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
from gossipllm.config import EMBEDDED
from gossipllm.config.toml import commented_toml
from sim.experiments.methods import method_named
from sim.experiments.metrics import SCHEMA, RunMetrics
from sim.experiments.scenarios import Scenario
from sim.experiments.texts import check_sources
from sim.world.agenda import EPOCH
from sim.world.trace import Happened
from trust.errors import UserMistake
from trust.files import write_whole
from trust.record.history import HISTORY_FILE, Entry
from trust.record.log import HistoryWriter
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
    "sim/cli.py",
    "sim/comparison/plots.py",
    "sim/comparison/tables.py",
    "sim/reporting/",
    "sim/comparison/summary.py",
    "sim/experiments/results.py",
    "trust/inspection/",
    "peers/commands/chat/",
    "peers/commands/doctor/",
    "peers/commands/explain/",
)
"""Sources that only show results or have no part in a run: runs stay valid when these change."""


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `run.json`."""

    schema: int = SCHEMA
    configuration: str


class RunTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `clock.json`: seconds that the run took, by the wall's and by the processor's clock."""

    wall_s: float
    cpu_s: float


def begin_results(out: Path, scenario: Scenario) -> None:
    """Say in the folder what is to be run. Raises `UserMistake` for one that holds something else."""
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / SCENARIO).is_file())):
        raise UserMistake(f"{out} holds no results of a simulation; choose another folder with -o")
    try:
        out.mkdir(parents=True, exist_ok=True)
        # What runs that were stopped left behind.
        for part in out.glob("*/seed-*.part"):
            shutil.rmtree(part, ignore_errors=True)
        (out / SCENARIO).write_text(commented_toml(scenario), encoding="utf-8")
        write_json(out / "versions.json", versions())
    except OSError as error:
        raise UserMistake(f"{out}: {error.strerror}") from None


def run_folder(out: Path, method: str, seed: int) -> Path:
    return out / method.replace("*", "x") / f"seed-{seed}"


def configurations(scenario: Scenario) -> dict[tuple[str, int], str]:
    """A digest for each (method, seed): of everything that its result depends on.

    The texts, the base model's files (of a model from a hub its name only), our own code and the versions of the
    libraries are in it. Raises `UserMistake` where a text is missing.
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
    """What stands in the folder, if it is of this configuration."""
    try:
        if msgspec.json.decode((folder / _RUN).read_bytes(), type=RunFile).configuration != configuration:
            return None
        metrics = msgspec.json.decode((folder / METRICS).read_bytes(), type=RunMetrics)
        return metrics, msgspec.json.decode((folder / CLOCK).read_bytes(), type=RunTimes)
    except (OSError, msgspec.DecodeError):
        return None


class RunWriter:
    """Writes a run's folder beside its place, and puts it there when it is whole."""

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
        self._events.writelines(_line(one) for one in happened)

    def finish(self, metrics: RunMetrics, entries: Sequence[Entry]) -> RunTimes:
        """Put the run in its place; a former one there is replaced."""
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
    data = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"
    write_whole(path, lambda file: file.write(data))


def results_digest(out: Path, folders: Iterable[Path], tables: Iterable[str]) -> str:
    """One digest over every file that equal runs write equally: of these runs, and these tables."""
    paths = [folder / name for folder in folders for name in _REPEATABLE] + [out / name for name in tables]
    lines = sorted(
        f"{path.relative_to(out).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in paths
    )
    return _digest(*lines)


def traces_digest(runs: Iterable[RunMetrics]) -> str:
    """One digest over the events of all runs."""
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
    """Of a folder's files their names, sizes and times: reading gigabytes to compare them would take minutes."""
    folder = Path(scenario.model.name).expanduser()
    if scenario.model.name == EMBEDDED or not folder.is_dir():
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
        "effects": [_shown(one) for one in happened.effects],
    }
    return msgspec.json.encode(line) + b"\n"


def _shown(what: Any) -> dict[str, object]:
    """What it is, and its fields as far as they fit into a line: contents by digest, other bulk by its length."""
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
    """Numbers whole, contents by digest; of anything else how many."""
    if all(isinstance(one, int | float) for one in values):
        return list(values)
    if all(isinstance(one, Content) for one in values):
        return [one.digest.hex()[:12] for one in values]
    return len(values)
