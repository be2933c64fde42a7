"""Finds the history files below a path and reads them as a whole into a `HistoryRun`.

`trust.inspection.show.latest` reads only one row of each peer, which is enough for a matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from trust.errors import UserMistake
from trust.inspection.reading.naming import listed
from trust.inspection.reading.pieces import history_pieces
from trust.inspection.reading.summary import FileSummary, rounds_text
from trust.names import escaped
from trust.progress import Done, progress, silent
from trust.record.history import HISTORY_FILE, Entry, PeerName
from trust.record.log import History
from trust.record.matrix import PeerRounds, members
from trust.record.segments import PATTERNS, all_segments, is_of_history, size_of

_DEPTHS = ("", "*/", "*/*/")
"""Where histories lie below a path: a peer's home; a folder of homes; a run that keeps its homes in `peers/`.
Only the first pattern with a match counts, so that a copy kept inside a home is not taken for another peer."""

LONG: Final = 20_000_000
"""Bytes of history from which on a progress bar is shown: read in 0.1 s from a fast disk, written as CSV in 0.8 s."""

_SEED = re.compile(r"seed-\d+(\.part)?")
"""Folder name of a simulation's run in RESULTS/METHOD/; `.part` marks a run that is still under way."""


@dataclass(frozen=True)
class HistoryRun:
    """The histories of peers that ran together. `files` has at least one file, sorted by path."""

    path: Path
    files: dict[Path, History]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Entries of all peers; those of one peer in the order in which it wrote them."""
        return tuple(entry for history in self.files.values() for entry in history.entries)

    @cached_property
    def members(self) -> tuple[PeerRounds, ...]:
        return members(self.entries)

    @property
    def summaries(self) -> tuple[FileSummary, ...]:
        return tuple(file_summary(path, history) for path, history in self.files.items())

    def entries_of(self, peer: PeerName) -> Iterator[Entry]:
        return (entry for entry in self.entries if entry.record.peer == peer)


def read_run(path: Path) -> HistoryRun:
    """Read all histories below `path`, with a progress bar at a terminal for more than `LONG` bytes.

    Raises `UserMistake` where there is no history, or no round in any of them.
    """
    files = history_files(path)
    size = _bytes(files)
    with progress("reading", size, shown=size > LONG) as done:
        run = HistoryRun(path, {file: history_at(file, done) for file in files})
    check_recorded(path, run.files, run.members)
    return run


def history_files(path: Path) -> list[Path]:
    """History files that `path` stands for: the file itself, the file in this home, or the files of the homes below.

    Raises `UserMistake` where there is none, and for several runs of a simulation: the same names there are different
    peers.
    """
    if not path.exists():
        raise UserMistake(f"{path} does not exist; give a peer's home, or a folder that holds homes")
    files = [path] if path.is_file() else _files_below(path)
    if not files:
        raise UserMistake(
            f"no {HISTORY_FILE} in {path} or two folders below; give a peer's home, or a run's folder"
        )
    if len(runs := [file.parent for file in files if simulated(file)]) > 1:
        examples = listed([escaped(str(run.relative_to(path))) for run in runs], 4)
        raise UserMistake(f"{path} holds {len(runs)} runs of a simulation; give one of {examples} in it")
    return files


def simulated(file: Path) -> bool:
    """Whether `file` holds a whole run of a simulation, whose peers are not those of the histories beside it."""
    return _SEED.fullmatch(file.absolute().parent.name) is not None


def history_at(file: Path, done: Done = silent) -> History:
    """Read one history, with all its segments. `done` gets the number of bytes of each piece of whole records.

    Raises `UserMistake` where the file cannot be read.
    """
    parts: list[History] = []
    begin = 0
    try:
        for piece in history_pieces(file):
            parts.append(piece)
            done(piece.whole - begin)
            begin = piece.whole
    except OSError as error:
        raise UserMistake(f"{file} cannot be read: {error.strerror}") from None
    return replace(
        parts[-1],
        entries=tuple(entry for part in parts for entry in part.entries),
        torn=sum(part.torn for part in parts),
        why=next((part.why for part in reversed(parts) if part.why), ""),
    )


def check_recorded(path: Path, files: dict[Path, History], known: Sequence[PeerRounds]) -> None:
    """Raise `UserMistake` where no peer recorded a round."""
    if any(member.rounds for member in known):
        return
    for file, history in files.items():
        if history.torn and not history.entries:
            raise UserMistake(f"{file} is no history: {history.why}")
    raise UserMistake(f"no peer in {path} has finished a round yet; try again in a while")


def check_round(path: Path, known: Sequence[PeerRounds], at_round: int | None) -> None:
    """Raise a `UserMistake` that lists the recorded rounds where no peer recorded `at_round`."""
    if at_round is not None and all(member.at(at_round) is None for member in known):
        raise UserMistake(f"no peer in {path} recorded round {at_round}; there are {rounds_text(known)}")


def find_peer(text: str, peers: Sequence[tuple[PeerName, str]]) -> PeerName:
    """The id of the peer that `text` names: an id, a name, or the beginning or end of an id (3 characters or more).

    `peers` are pairs (id, name). An exact id wins over an exact name, a name over a name in another case, and that
    over a part of an id. Raises a `UserMistake` that lists the known peers, or the peers that `text` could name.
    """
    text = text.strip()
    for matches in (
        [peer for peer, _ in peers if peer == text],
        [peer for peer, name in peers if name == text],
        [peer for peer, name in peers if name.casefold() == text.casefold()],
        [peer for peer, _ in peers if len(text) >= 3 and (peer.endswith(text) or peer.startswith(text))],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = listed([escaped(peer) for peer in matches], 8)
            raise UserMistake(f'"{escaped(text)}" is more than one peer; give an id: {ids}')
    known = listed([escaped(name or peer) for peer, name in peers], 20)
    raise UserMistake(f'no peer is called "{escaped(text)}"; there are {known}')


def file_summary(path: Path, history: History) -> FileSummary:
    return FileSummary(
        path=escaped(str(path), 4096), records=len(history.entries), torn_bytes=history.torn, why=history.why
    )


def _bytes(files: Sequence[Path]) -> int:
    # The reader that opens a file next reports what is wrong with it.
    return sum(size_of(all_segments(file)) for file in files)


def _files_below(folder: Path) -> list[Path]:
    for depth in _DEPTHS:
        found = (file for pattern in PATTERNS for file in folder.glob(depth + pattern))
        # Segments stand for the history that they belong to.
        files = {file.with_name(HISTORY_FILE) for file in found if is_of_history(file) and file.is_file()}
        if files:
            return sorted(files)
    return []
