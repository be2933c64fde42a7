"""Histories that grow -> their new entries, each byte read and decoded once.

A file is read on from the end of its last whole record; a torn end waits there until it is whole. A file was cut
or replaced when it is another inode, shorter, or its last record does not begin as it did. Then everything is read
from the start, of all files, because what is known of a peer cannot be unlearned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trust.errors import UserMistake
from trust.inspection.reading.files import history_files
from trust.names import escaped
from trust.record.history import Entry
from trust.record.log import decoded

_CHUNK: Final = 1 << 20
"""Bytes of a file that are read at once. A record has some kilobytes: what is not whole in so many is damage."""

_AT_ONCE: Final = 4 * _CHUNK
"""Bytes of all files together: some 0.1 s, so that a view answers keys while it reads a long history."""

_START: Final = b"\x83\xa4at_s"
_MARK: Final = 64
"""Bytes of the last record that are compared. It begins with its time, and ends alike in every run."""

_SEARCH_EVERY: Final = 5
"""Looks at the files before the folders are searched for new ones, which is dearer."""

_PATIENCE: Final = 3
"""Looks after which an end that is still torn is no record in the making. Guess: a record is one `write`."""

_HOME: Final = ("peer.toml", "*/peer.toml", "*/*/peer.toml")
"""What a home has before its peer ever ran."""


@dataclass(frozen=True, slots=True)
class NewEntries:
    """Entries since the last look; those of one peer in the order in which it wrote them.

    `again`: a file was cut or replaced, these are entries from the start, and all earlier ones are void.
    `behind` bytes are left to be read, at once.
    """

    entries: tuple[Entry, ...]
    again: bool
    behind: int


class Following:
    """All histories at and below `paths`, also those that come later.

    Raises `UserMistake` where a path has neither a history nor the home of a peer that could write one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._files: dict[Path, _File] = {}
        self._looks = 0
        for path in self._paths:
            _check(path)

    @property
    def files(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """Bytes of all files as of the last look."""
        return sum(file.size for file in self._files.values())

    @property
    def troubles(self) -> tuple[str, ...]:
        """A line for each file whose end cannot be read and does not become whole, escaped."""
        return tuple(file.trouble for file in self._files.values() if file.trouble)

    def news(self) -> NewEntries:
        """What came since. A file that is gone or cannot be opened has none. Raises nothing."""
        if self._looks % _SEARCH_EVERY == 0:
            self._search()
        self._looks += 1
        try:
            return self._read(again=False)
        except _ReplacedError:
            for file in self._files.values():
                file.rewind()
            return self._read(again=True)

    def _read(self, *, again: bool) -> NewEntries:
        for file in self._files.values():
            file.look()
        entries: list[Entry] = []
        left = _AT_ONCE
        for file in self._files.values():
            while left > 0 and file.waiting:
                part, length = file.read()
                entries.extend(part)
                left -= length
        return NewEntries(tuple(entries), again, sum(file.behind for file in self._files.values()))

    def _search(self) -> None:
        for path in self._paths:
            for file in _found(path):
                # Resolved, so that a file that two paths lead to is read once.
                if (real := file.resolve()) not in self._files:
                    self._files[real] = _File(real)


class _ReplacedError(Exception):
    """The file does not go on where reading stopped."""


class _File:
    """`waiting`: something changed since it was last read. `behind`: bytes that were never looked at, and can be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode: tuple[int, int] | None = None
        self.rewind()

    def rewind(self) -> None:
        self.size = 0
        self.waiting = False
        self._whole = 0
        self._read_to = 0
        self._mark_at, self._mark = 0, b""
        self._seen: tuple[int, int] = (0, 0)
        self._standing, self._why, self._stuck = 0, "", False

    @property
    def behind(self) -> int:
        return max(0, self.size - self._read_to) if self.waiting and not self._stuck else 0

    @property
    def trouble(self) -> str:
        if not self._why or (self._standing < _PATIENCE and not self._stuck):
            return ""
        return escaped(f"not read from byte {self._whole} on, {self._why}: {self._path}", 4096)

    def look(self) -> None:
        """Whether there is more. Raises `_ReplacedError`."""
        self._standing = self._standing + 1 if self._why else 0
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
        """The entries of one chunk, and its length. Raises `_ReplacedError`."""
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
        return self._taken(new or b""), len(new or b"")

    def _taken(self, new: bytes) -> tuple[Entry, ...]:
        history = decoded(new)
        if history.whole:
            last = max(0, new.rfind(_START, 0, history.whole))
            self._mark_at, self._mark = self._whole + last, new[last : min(last + _MARK, history.whole)]
            self._standing = 0
        self._read_to = self._whole + len(new)
        self._whole += history.whole
        self._why = history.why.partition(": ")[2]
        self._stuck = history.later or (not history.whole and len(new) == _CHUNK)
        if len(new) == _CHUNK and history.whole:
            # The chunk may have ended within a record, and there is more behind it.
            self._read_to, self._why, self.waiting = self._whole, "", True
        return history.entries


def _check(path: Path) -> None:
    try:
        history_files(path)
    except UserMistake:
        if not path.is_dir() or not any(next(path.glob(pattern), None) for pattern in _HOME):
            raise


def _found(path: Path) -> list[Path]:
    try:
        return history_files(path)
    except UserMistake:
        return []
