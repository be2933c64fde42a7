"""Histories below some paths -> one row of each peer, which is all that a matrix needs, in little memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

from trust.errors import UserMistake
from trust.inspection.reading.files import history_files, simulated
from trust.inspection.reading.pieces import pieces
from trust.inspection.reading.summary import FileSummary, runs_text
from trust.inspection.reading.tail import read_tail
from trust.inspection.reading.traffic import PeerTraffic, TrafficTotals
from trust.names import escaped
from trust.record.history import Begun, PeerName, Round
from trust.record.matrix import PeerRounds

_SMALL: Final = 1 << 18
"""Bytes up to which a file is decoded as a whole: some 2 ms, and its records are counted."""


@dataclass(frozen=True, slots=True)
class LatestRows:
    """Each member has one round, the wanted one, or none. `traffic` is None where it was not asked for."""

    members: tuple[PeerRounds, ...]
    files: tuple[FileSummary, ...]
    traffic: dict[PeerName, PeerTraffic] | None


@dataclass(frozen=True, slots=True)
class _Found:
    names: dict[PeerName, str]
    rows: dict[PeerName, Round]
    file: FileSummary


def read_latest(
    paths: Sequence[Path], *, at_round: int | None = None, count_bytes: bool = False, small: int = _SMALL
) -> LatestRows:
    """The last row that each peer wrote, or the last it wrote of round `at_round`, as if all files were one.

    Bytes are added up over restarts, for which everything is read. Files of more than `small` bytes are otherwise
    read from their ends. Raises `UserMistake` where there is no history, none of the rows, or where two of several
    paths are of runs of their own.
    """
    files = {file.resolve(): (path, file) for path in paths for file in history_files(path)}
    if len(files) > 1 and any(map(simulated, files)):
        raise UserMistake(
            f"a run of a simulation is a whole one, and these are {len(files)} histories; give one"
        )
    meter = TrafficTotals() if count_bytes else None
    found = [(path, _read(file, at_round, meter, small)) for path, file in files.values()]
    _check_one_run(found)
    names: dict[PeerName, str] = {}
    rows: dict[PeerName, Round] = {}
    for _, one in found:
        names |= one.names
        rows |= one.rows
    if not rows:
        _complain(
            paths,
            {file: one.file for (_, file), (_, one) in zip(files.values(), found, strict=True)},
            at_round,
        )
    return LatestRows(
        members=tuple(
            PeerRounds(peer, names.get(peer, ""), {rows[peer].round: rows[peer]} if peer in rows else {})
            for peer in dict.fromkeys((*names, *rows))
        ),
        files=tuple(one.file for _, one in found),
        traffic=meter.totals if meter else None,
    )


def _read(file: Path, at_round: int | None, meter: TrafficTotals | None, small: int) -> _Found:
    try:
        if meter is None and file.stat().st_size > small and (found := _from_end(file, at_round)):
            return found
        return _whole(file, at_round, meter)
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}") from None


def _from_end(file: Path, at_round: int | None) -> _Found | None:
    # A file may become shorter under a map only while a peer starts and cuts off what was torn at its end.
    with file.open("rb") as source, mmap(source.fileno(), 0, access=ACCESS_READ) as data:
        tail = read_tail(data, at_round=at_round)
    return tail and _Found(tail.names, tail.rows, _summary(file, None, tail.torn, tail.why))


def _whole(file: Path, at_round: int | None, meter: TrafficTotals | None) -> _Found:
    names: dict[PeerName, str] = {}
    rows: dict[PeerName, Round] = {}
    records, torn, why = 0, 0, ""
    for piece in pieces(file):
        for record in (entry.record for entry in piece.entries):
            if isinstance(record, Begun):
                names[record.peer] = record.name
            elif isinstance(record, Round) and at_round in (None, record.round):
                rows[record.peer] = record
        if meter:
            meter.feed(piece.entries)
        records += len(piece.entries)
        torn, why = piece.torn, piece.why
    return _Found(names, rows, _summary(file, records, torn, why))


def _summary(file: Path, records: int | None, torn: int, why: str) -> FileSummary:
    return FileSummary(path=escaped(str(file), 4096), records=records, torn_bytes=torn, why=why)


def _check_one_run(found: Sequence[tuple[Path, _Found]]) -> None:
    of_peer: dict[PeerName, Path] = {}
    for path, one in found:
        for peer in (*one.names, *one.rows):
            if of_peer.setdefault(peer, path) != path:
                name = escaped(one.names.get(peer) or peer)
                raise UserMistake(
                    f"{of_peer[peer]} and {path} both have a history of {name}: they are not one run; "
                    "give them one at a time"
                )


def _complain(paths: Sequence[Path], files: Mapping[Path, FileSummary], at_round: int | None) -> None:
    """Raises `UserMistake` that says why there is no row."""
    where = str(paths[0]) if len(paths) == 1 else f"these {len(paths)} paths"
    for file in files.values():
        if file.torn_bytes and file.records == 0:
            raise UserMistake(f"{file.path} is no history: {file.why}")
    if at_round is not None and (numbers := [number for file in files for number in _rounds(file)]):
        raise UserMistake(f"no peer in {where} recorded round {at_round}; there are {runs_text(numbers)}")
    raise UserMistake(f"no peer in {where} has finished a round yet; try again in a while")


def _rounds(file: Path) -> set[int]:
    entries = (entry for piece in pieces(file) for entry in piece.entries)
    return {entry.record.round for entry in entries if isinstance(entry.record, Round)}
