"""Follows growing history files and returns their new entries; each byte is read and decoded once.

Reading continues from the end of a file's last whole record; a torn end is tried again until it is whole. A file counts
as cut or replaced if its inode changed, it became shorter, or the bytes of its last record changed. Then all files are
read again from the start, because the effect of earlier entries on a board cannot be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trust.errors import UserMistake
from trust.inspection.reading.files import history_files
from trust.names import escaped
from trust.record.history import Begun, Entry, PeerName
from trust.record.log import decoded
from trust.record.segments import all_segments, older_segments

_CHUNK: Final = 1 << 20
"""Bytes of a file read at once. A record has some kilobytes, so a record that is not whole in a chunk is damaged."""

_AT_ONCE: Final = 4 * _CHUNK
"""Bytes of all files read in one call: some 0.1 s, so that a view answers keys while it reads a long history."""

_START: Final = b"\x83\xa4at_s"
"""First bytes of every entry: a MessagePack map of three whose first key is `at_s`."""

_MARK: Final = 64
"""Bytes compared from the beginning of the last record. It begins with the record's time; the ends of records are
the same in every run."""

_SEARCH_EVERY: Final = 5
"""Calls of `read_new` between two searches of the folders for new files; a search costs more than a look at the
known files."""

_PATIENCE: Final = 3
"""Looks at a file after which a torn end is reported rather than taken for a record that is being written. Guess: a
record is one `write`."""

_HOME: Final = ("peer.toml", "*/peer.toml", "*/*/peer.toml")
"""A file that a home has even before its peer first runs, relative to the given path."""


@dataclass(frozen=True, slots=True)
class NewEntries:
    """Entries since the last call; those of one peer in the order in which it wrote them.

    `restarted`: a file was cut or replaced, `entries` begin again from the start, and all earlier ones are void.
    `behind`: bytes that are already in the files and still to be read; call again at once.
    """

    entries: tuple[Entry, ...]
    restarted: bool
    behind: int


class Following:
    """Reader of all histories at and below `paths`, including files that appear later.

    A history that is continued in a new segment goes on: the file under its new name, and then the new one.
    Raises `UserMistake` where a path has neither a history nor the home of a peer that could write one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._files: dict[Path, _File] = {}
        self._begun: dict[PeerName, Entry] = {}
        """The last `Begun` of each peer, to leave out its copies at the beginnings of segments."""
        self._looks = 0
        for path in self._paths:
            _check_path(path)

    @property
    def files(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """Size of all files in bytes at the last call of `read_new`."""
        return sum(file.size for file in self._files.values())

    @property
    def troubles(self) -> tuple[str, ...]:
        """One line of escaped text for each file whose end stays unreadable."""
        return tuple(file.trouble for file in self._files.values() if file.trouble)

    def read_new(self) -> NewEntries:
        """The entries since the last call. A file that is gone or cannot be opened has none. Raises nothing."""
        # Before a search, which would take the segment for a file that nobody has read.
        for path in [path for path, file in self._files.items() if file.is_elsewhere()]:
            self._follow_segment(path)
        if self._looks % _SEARCH_EVERY == 0:
            self._search()
        self._looks += 1
        try:
            return self._read(restarted=False)
        except _ReplacedError:
            self._begun.clear()
            for file in self._files.values():
                file.rewind()
            return self._read(restarted=True)

    def _read(self, *, restarted: bool) -> NewEntries:
        for file in self._files.values():
            file.look()
        entries: list[Entry] = []
        left = _AT_ONCE
        for file in self._files.values():
            while left > 0 and file.waiting:
                part, length = file.read()
                entries.extend(filter(self._is_no_copy, part))
                left -= length
        return NewEntries(tuple(entries), restarted, sum(file.behind for file in self._files.values()))

    def _is_no_copy(self, entry: Entry) -> bool:
        if not isinstance(entry.record, Begun):
            return True
        before, self._begun[entry.record.peer] = self._begun.get(entry.record.peer), entry
        return entry != before

    def _follow_segment(self, path: Path) -> None:
        """Go on reading the file that was at `path` under the name of a segment, and then the new one at `path`."""
        moved = next((file for file in older_segments(path) if self._files[path].is_at(file)), None)
        if moved is None or moved in self._files:
            return
        self._files[moved] = self._files.pop(path)
        self._files[moved].moved_to(moved)
        self._files[path] = _File(path)

    def _search(self) -> None:
        for path in self._paths:
            for file in _files_of(path):
                # Resolved, so that a file that two paths lead to is read once.
                if (real := file.resolve()) not in self._files:
                    self._files[real] = _File(real)


class _ReplacedError(Exception):
    """The file was cut or replaced: it does not continue where reading stopped."""


class _File:
    """One followed file. `waiting`: the file changed since it was last read. `behind`: bytes not yet read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode: tuple[int, int] | None = None
        self.rewind()

    def is_elsewhere(self) -> bool:
        """Whether another file has its name, or none."""
        return self._inode is not None and not self.is_at(self._path)

    def is_at(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        return self._inode == (status.st_dev, status.st_ino)

    def moved_to(self, path: Path) -> None:
        self._path = path

    def rewind(self) -> None:
        self.size = 0
        self.waiting = False
        self._whole = 0
        self._read_to = 0
        self._mark_at, self._mark = 0, b""
        self._seen: tuple[int, int] = (0, 0)
        self._torn_looks, self._why, self._stuck = 0, "", False

    @property
    def behind(self) -> int:
        return max(0, self.size - self._read_to) if self.waiting and not self._stuck else 0

    @property
    def trouble(self) -> str:
        if not self._why or (self._torn_looks < _PATIENCE and not self._stuck):
            return ""
        return escaped(f"not read from byte {self._whole} on, {self._why}: {self._path}", 4096)

    def look(self) -> None:
        """Update `size` and `waiting` from the file's status. Raises `_ReplacedError`."""
        self._torn_looks = self._torn_looks + 1 if self._why else 0
        try:
            status = self._path.stat()
        except OSError:
            return
        inode, self._inode = self._inode, (status.st_dev, status.st_ino)
        if inode not in {None, self._inode} or status.st_size < self._whole:
            raise _ReplacedError
        seen = (status.st_size, status.st_mtime_ns)
        self.waiting = self.waiting or seen != self._seen
        self._seen, self.size = seen, status.st_size

    def read(self) -> tuple[tuple[Entry, ...], int]:
        """The entries of the next chunk, and its length in bytes. Raises `_ReplacedError`."""
        self.waiting = False
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._mark_at)
                if file.read(len(self._mark)) != self._mark:
                    raise _ReplacedError
                if self._stuck:
                    return (), 0
                file.seek(self._whole)
                new = file.read(_CHUNK)
        except OSError:
            return (), 0
        return self._decode(new or b""), len(new or b"")

    def _decode(self, new: bytes) -> tuple[Entry, ...]:
        history = decoded(new)
        if history.whole:
            last = max(0, new.rfind(_START, 0, history.whole))
            self._mark_at, self._mark = self._whole + last, new[last : min(last + _MARK, history.whole)]
            self._torn_looks = 0
        self._read_to = self._whole + len(new)
        self._whole += history.whole
        # Without its prefix, an offset within this chunk; `trouble` gives the offset in the file.
        self._why = history.why.partition(": ")[2]
        # More bytes cannot help: a later version wrote the record, or it is larger than any record can be.
        self._stuck = history.later or (not history.whole and len(new) == _CHUNK)
        if len(new) == _CHUNK and history.whole:
            # The torn record may only be cut off by the chunk's end, so it is no reason to report trouble yet.
            self._read_to, self._why, self.waiting = self._whole, "", True
        return history.entries


def _check_path(path: Path) -> None:
    try:
        history_files(path)
    except UserMistake:
        if not path.is_dir() or not any(next(path.glob(pattern), None) for pattern in _HOME):
            raise


def _files_of(path: Path) -> list[Path]:
    """Every segment of every history, those of one in order."""
    try:
        return [file for history in history_files(path) for file in all_segments(history)]
    except UserMistake:
        return []
