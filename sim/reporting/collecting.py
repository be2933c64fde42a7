"""Reads the history files in a folder, and collects the data of its report.

path                                  the report shows
a peer's home, or a folder of homes   one run, with the peer.toml of each home
METHOD/seed-N of a simulation         one run, with the scenario.toml two folders above
a simulation's results, or a METHOD   all runs below it, and the table that compares the methods
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gossipllm import __version__
from sim.comparison.summary import Comparison
from sim.experiments.results import METRICS, SCENARIO
from sim.reporting.configuration_text import configuration
from sim.reporting.document import ConfigText, FilePart, Fingerprint, ReportDocument, RunPart
from sim.reporting.series import RunFacts, run_part
from trust.errors import UserMistake
from trust.inspection.reading.files import HistoryRun, check_recorded, history_files
from trust.names import escaped
from trust.progress import Stages
from trust.record.history import HISTORY_FILE, Begun
from trust.record.log import History, decoded, joined
from trust.record.segments import opened_segments

_SIMULATED = (f"seed-*/{HISTORY_FILE}", f"*/seed-*/{HISTORY_FILE}")

_HISTORY_BYTES = 11e6
"""Total size of history files up to which every round is shown; of larger ones, evenly spaced rounds are left out. A
page takes at most a quarter of the bytes of its histories (`benchmarks/report_size.py`), and should stay below 3 MB."""

_UNREADABLE = (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors from reading a JSON file of unknown origin. Deep nesting raises `RecursionError`."""

_PRINTS = ("base", "tokenizer", "reference", "layout")
"""Fingerprints in the record of a peer's start, in the order of the page. Peers can merge only where all are equal."""


@dataclass(frozen=True)
class _Source:
    """The history files of one run. `folder` is a simulated run's folder, None for a run of real peers."""

    files: tuple[Path, ...]
    folder: Path | None


def collect(path: Path, stages: Stages, *, config: bool) -> ReportDocument:
    """The document of the report about `path`, with the configuration unless `config` is false.

    Raises `UserMistake` where `path` holds no history file, or no history has a finished round.
    """
    sources = _sources(path)
    root = _root(path, sources)
    whole_bytes = sum(file.stat().st_size for source in sources for file in source.files)
    share = min(1.0, _HISTORY_BYTES / max(whole_bytes, 1))
    done = stages.begin("reading", sum(len(source.files) for source in sources))
    runs: list[RunPart] = []
    files: list[FilePart] = []
    prints: Counter[tuple[str, str]] = Counter()
    programs: set[str] = set()
    notes: list[str] = []
    for source in sources:
        histories: dict[Path, History] = {}
        for file in source.files:
            histories[file], part = _read(file, root)
            files.append(part)
            done(1)
        run = HistoryRun(path, histories)
        if len(sources) == 1:
            check_recorded(path, run.files, run.members)
        if not any(member.rounds for member in run.members):
            notes.append(f"{_shown(source.files[0], root)}: no round was finished, so it is not shown.")
            continue
        runs.append(run_part(run, _simulated(source), share=share))
        prints.update(_fingerprints(run))
        programs |= {f"gossipllm {one.program}" for one in _begun(run) if one.program}
    if not runs:
        raise UserMistake(f"no peer in {path} has finished a round yet; try again in a while")
    comparison = _comparison(path, sources, root, notes)
    order = [one.method for one in comparison.methods] if comparison else []
    runs.sort(key=lambda run: _place(run, order))
    return ReportDocument(
        title=escaped(_heading(path, sources, comparison, runs)),
        program=f"gossipllm {__version__}",
        first=next(index for index, run in enumerate(runs) if run.method == runs[-1].method),
        runs=tuple(runs),
        comparison=comparison,
        configuration=_configuration(sources, root) if config else (),
        versions=_versions(sources, root, programs),
        fingerprints=tuple(
            Fingerprint(what=what, value=value, peers=count)
            for (what, value), count in sorted(prints.items(), key=lambda one: _PRINTS.index(one[0][0]))
        ),
        files=tuple(files),
        notes=tuple(escaped(note, 400) for note in notes),
    )


def _sources(path: Path) -> list[_Source]:
    if path.is_dir():
        for pattern in _SIMULATED:
            # A running simulation writes into seed-N.part, and renames the folder when the run is complete.
            files = sorted((one for one in path.glob(pattern) if one.parent.suffix != ".part"), key=_order)
            if files:
                return [_Source((file,), file.parent) for file in files]
    found = tuple(history_files(path))
    alone = found[0].parent if len(found) == 1 and (found[0].parent / METRICS).is_file() else None
    return [_Source(found, alone)]


def _order(file: Path) -> tuple[str, int, str]:
    seed = file.parent.name.removeprefix("seed-")
    return file.parent.parent.name, int(seed) if seed.isdecimal() else 0, seed


def _place(run: RunPart, order: Sequence[str]) -> tuple[int, str, int]:
    method = run.method or ""
    return (order.index(method) if method in order else len(order)), method, run.seed or 0


def _root(path: Path, sources: Sequence[_Source]) -> Path:
    """Paths in the report are relative to this folder, because the folders above it may name a person or a device."""
    folder = sources[0].folder
    if folder is not None:
        return folder.resolve().parents[1]
    return path.resolve() if path.is_dir() else path.resolve().parent


def _shown(file: Path, root: Path) -> str:
    file = file.resolve()
    # Where a home is a symbolic link, the resolved file can lie outside `root`.
    told = file.relative_to(root.parent) if file.is_relative_to(root.parent) else Path(*file.parts[-2:])
    return escaped(told.as_posix(), 1000)


def _read(file: Path, root: Path) -> tuple[History, FilePart]:
    """Read a history once: the digest is of exactly the bytes that are shown, also while a peer appends."""
    try:
        segments = [source.read() for source in opened_segments(file)]
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}") from None
    data = b"".join(segments)
    history = joined(map(decoded, segments))
    return history, FilePart(
        path=_shown(file, root),
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        records=len(history.entries),
        torn_bytes=history.torn,
        why=escaped(history.why),
    )


def _simulated(source: _Source) -> RunFacts | None:
    """Facts from the run's metrics.json, or from the folder names METHOD/seed-N if that file cannot be read."""
    if source.folder is None:
        return None
    try:
        return msgspec.json.decode((source.folder / METRICS).read_bytes(), type=RunFacts)
    except _UNREADABLE:
        method, seed = source.folder.resolve().parts[-2:]
        number = seed.removeprefix("seed-")
        return RunFacts(method=method, seed=int(number) if number.isdecimal() else 0)


def _comparison(path: Path, sources: Sequence[_Source], root: Path, notes: list[str]) -> Comparison | None:
    file = root / "table.json"
    if sources[0].folder is None or path.resolve() != root or not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Comparison)
    except _UNREADABLE:
        notes.append(f"{_shown(file, root)} is of another version; run the simulation again to compare.")
        return None


def _heading(
    path: Path, sources: Sequence[_Source], comparison: Comparison | None, runs: Sequence[RunPart]
) -> str:
    if comparison is not None:
        return comparison.scenario
    if sources[0].folder is not None:
        name = sources[0].folder.resolve().parents[1].name
        return f"{name}: {runs[0].title}" if len(runs) == 1 else name
    return path.resolve().name if path.is_dir() else path.resolve().parent.name


def _configuration(sources: Sequence[_Source], root: Path) -> tuple[ConfigText, ...]:
    if sources[0].folder is not None:
        return configuration([(SCENARIO, root / SCENARIO)])
    configs = [file.parent / "peer.toml" for source in sources for file in source.files]
    return configuration([(_shown(config, root), config) for config in configs])


def _versions(sources: Sequence[_Source], root: Path, programs: set[str]) -> tuple[str, ...]:
    written = root / "versions.json"
    if sources[0].folder is not None and written.is_file():
        try:
            found = msgspec.json.decode(written.read_bytes(), type=tuple[str, ...])
            programs = programs | set(found)
        except _UNREADABLE:
            pass
    return tuple(escaped(one) for one in sorted(programs))


def _fingerprints(run: HistoryRun) -> Iterator[tuple[str, str]]:
    """Pairs of kind and value, from each peer's last start."""
    last = {one.peer: one for one in _begun(run)}
    for one in last.values():
        for what in _PRINTS:
            value: str = getattr(one, what)
            yield what, escaped(value)


def _begun(run: HistoryRun) -> Iterator[Begun]:
    return (one.record for one in run.entries if isinstance(one.record, Begun))
