"""Reads one row of each peer from the histories below some paths, in little memory: all that a matrix needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final, TypeAlias

from trust.errors import UserMistake
from trust.inspection.reading.costs import CostTotals, SpentByMethod
from trust.inspection.reading.files import history_files, simulated
from trust.inspection.reading.pieces import history_pieces
from trust.inspection.reading.summary import FileSummary, runs_text
from trust.inspection.reading.tail import read_tail
from trust.inspection.reading.traffic import PeerTraffic, TrafficTotals
from trust.names import escaped
from trust.record.history import Begun, PeerName, Round
from trust.record.matrix import PeerRounds
from trust.record.segments import all_segments, size_of

_SMALL: Final = 1 << 18
"""Size in bytes up to which a file is decoded as a whole, which takes some 2 ms and counts its records."""
_Meter: TypeAlias = TrafficTotals | CostTotals


@dataclass(frozen=True, slots=True)
class LatestRows:
    """One row of each peer. A member has the wanted round, or no round at all. `traffic` and `costs` are None unless
    requested."""

    members: tuple[PeerRounds, ...]
    files: tuple[FileSummary, ...]
    traffic: dict[PeerName, PeerTraffic] | None
    costs: dict[tuple[PeerName, str], SpentByMethod] | None = None


@dataclass(frozen=True, slots=True)
class _FileRows:
    names: dict[PeerName, str]
    rows: dict[PeerName, Round]
    file: FileSummary


def read_latest(
    paths: Sequence[Path],
    *,
    at_round: int | None = None,
    count_bytes: bool = False,
    count_costs: bool = False,
    small: int = _SMALL,
) -> LatestRows:
    """The last row that each peer wrote, or its last row of round `at_round`, with all files taken for one run.

    `count_bytes` and `count_costs` read all files completely, because they add up over all rounds; otherwise files of
    more than `small` bytes are read from their ends. Raises `UserMistake` where there is no history or no such row, and
    where the paths belong to different runs.
    """
    files = {file.resolve(): (path, file) for path in paths for file in history_files(path)}
    if len(files) > 1 and any(map(simulated, files)):
        raise UserMistake(
            f"each run of a simulation is shown on its own, and these are {len(files)} histories; give one"
        )
    totals = TrafficTotals() if count_bytes else None
    spent = CostTotals() if count_costs else None
    meters = [meter for meter in (totals, spent) if meter is not None]
    found = [(path, _read(file, at_round, meters, small)) for path, file in files.values()]
    _check_one_run(found)
    names: dict[PeerName, str] = {}
    rows: dict[PeerName, Round] = {}
    for _, history in found:
        names |= history.names
        rows |= history.rows
    if not rows:
        _raise_no_row(
            paths,
            {file: history.file for (_, file), (_, history) in zip(files.values(), found, strict=True)},
            at_round,
        )
    return LatestRows(
        members=tuple(
            PeerRounds(peer, names.get(peer, ""), {rows[peer].round: rows[peer]} if peer in rows else {})
            for peer in dict.fromkeys((*names, *rows))
        ),
        files=tuple(history.file for _, history in found),
        traffic=totals.totals if totals else None,
        costs=spent.totals if spent else None,
    )


def _read(file: Path, at_round: int | None, meters: Sequence[_Meter], small: int) -> _FileRows:
    try:
        if not meters and size_of(all_segments(file)) > small and (found := _from_end(file, at_round)):
            return found
        return _whole(file, at_round, meters)
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}") from None


def _from_end(path: Path, at_round: int | None) -> _FileRows | None:
    """The rows from the newest segment that has any; None where only decoding can tell."""
    for file in reversed(all_segments(path)):
        if not file.stat().st_size:
            continue
        # A mapped file may only become shorter when a peer starts and cuts off a torn end.
        with file.open("rb") as source, mmap(source.fileno(), 0, access=ACCESS_READ) as data:
            tail = read_tail(data, at_round=at_round)
        if tail is None:
            return None
        if tail.rows:
            return _FileRows(tail.names, tail.rows, _summary(path, None, tail.torn, tail.why))
    return None


def _whole(file: Path, at_round: int | None, meters: Sequence[_Meter]) -> _FileRows:
    names: dict[PeerName, str] = {}
    rows: dict[PeerName, Round] = {}
    records, torn, why = 0, 0, ""
    for piece in history_pieces(file):
        for record in (entry.record for entry in piece.entries):
            if isinstance(record, Begun):
                names[record.peer] = record.name
            elif isinstance(record, Round) and at_round in (None, record.round):
                rows[record.peer] = record
        for meter in meters:
            meter.feed(piece.entries)
        records += len(piece.entries)
        torn, why = torn + piece.torn, piece.why or why
    return _FileRows(names, rows, _summary(file, records, torn, why))


def _summary(file: Path, records: int | None, torn: int, why: str) -> FileSummary:
    return FileSummary(path=escaped(str(file), 4096), records=records, torn_bytes=torn, why=why)


def _check_one_run(found: Sequence[tuple[Path, _FileRows]]) -> None:
    of_peer: dict[PeerName, Path] = {}
    for path, history in found:
        for peer in (*history.names, *history.rows):
            if of_peer.setdefault(peer, path) != path:
                name = escaped(history.names.get(peer) or peer)
                raise UserMistake(
                    f"{of_peer[peer]} and {path} both have a history of {name}: they are not one run; "
                    "give them one at a time"
                )


def _raise_no_row(paths: Sequence[Path], files: Mapping[Path, FileSummary], at_round: int | None) -> None:
    """Raise a `UserMistake` that says why there is no row."""
    where = str(paths[0]) if len(paths) == 1 else f"these {len(paths)} paths"
    for file in files.values():
        if file.torn_bytes and file.records == 0:
            raise UserMistake(f"{file.path} is no history: {file.why}")
    if at_round is not None and (numbers := [number for file in files for number in _rounds(file)]):
        raise UserMistake(f"no peer in {where} recorded round {at_round}; there are {runs_text(numbers)}")
    raise UserMistake(f"no peer in {where} has finished a round yet; try again in a while")


def _rounds(file: Path) -> set[int]:
    entries = (entry for piece in history_pieces(file) for entry in piece.entries)
    return {entry.record.round for entry in entries if isinstance(entry.record, Round)}
