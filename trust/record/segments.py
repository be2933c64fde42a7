"""A long history is kept in segments: files of a bounded length, of which the oldest go when all are too long.

    history.msgpack           the newest segment, which grows
    history-000001.msgpack    older ones, in the order of their numbers

A segment begins with a copy of the last `Begun`, so that each can be read by itself and the peer has its name where the
segment before is gone. Whoever reads several leaves the copies out (`log.joined`). A segment is made by one rename and
never changes afterwards; a crash between the rename and the first record leaves no `history.msgpack`, and the next
writer makes it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from trust.record.history import HISTORY_FILE

SEGMENT_BYTES: Final = 16_000_000
"""Length from which on a segment is closed: some 20,000 rounds. It is what a start reads, in 0.1 s. Guess."""

_SEGMENT: Final = re.compile(r"history-(\d{6,9})\.msgpack")
PATTERNS: Final = (HISTORY_FILE, "history-*.msgpack")
"""Globs that find every file of a history, and perhaps others: see `is_of_history`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    segment_bytes: int = SEGMENT_BYTES
    """Length from which on a segment is closed, above 0."""

    total_bytes: int = 0
    """Length of all segments above which the oldest is removed; 0 for no bound, else at least two segments."""

    def __post_init__(self) -> None:
        if self.segment_bytes <= 0:
            raise ValueError(f"segment_bytes must be above 0, got {self.segment_bytes}")
        if self.total_bytes and self.total_bytes < 2 * self.segment_bytes:
            raise ValueError(f"total_bytes must be 0 or at least two segments, got {self.total_bytes}")


def limits_of(total_mb: int) -> HistoryLimits:
    """Limits for a history of so many megabytes, 0 for no bound."""
    total = total_mb * 1_000_000
    return HistoryLimits(
        segment_bytes=min(SEGMENT_BYTES, total // 4) if total else SEGMENT_BYTES, total_bytes=total
    )


def is_of_history(file: Path) -> bool:
    """Whether a file is a history or a segment of one, by its name."""
    return file.name == HISTORY_FILE or _SEGMENT.fullmatch(file.name) is not None


def older_segments(path: Path) -> list[Path]:
    """The segments before `path`, oldest first. A file by another name than a home's history has none."""
    if path.name != HISTORY_FILE:
        return []
    numbered = [
        (int(match[1]), file)
        for file in path.parent.glob(PATTERNS[1])
        if (match := _SEGMENT.fullmatch(file.name))
    ]
    return [file for _, file in sorted(numbered)]


def all_segments(path: Path) -> list[Path]:
    """The files of the history at `path` that there are, oldest first; `path` itself if there is none."""
    older = older_segments(path)
    return [*older, path] if path.exists() or not older else older


def opened_segments(path: Path) -> Iterator[BinaryIO]:
    """The segments of the history at `path`, oldest first, each opened until the next one is asked for.

    A segment that the writer begins meanwhile is neither missed nor read twice. Raises `OSError`, also where there is
    no segment at all.
    """
    # The newest is opened before the older ones are listed, and may be one of those when they are.
    with ExitStack() as stack:
        newest: BinaryIO | None = None
        with suppress(FileNotFoundError):
            newest = stack.enter_context(path.open("rb"))
        older = older_segments(path)
        if newest is None and not older:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        for file in older:
            if newest is not None and is_file(file, os.fstat(newest.fileno())):
                continue
            try:
                source = file.open("rb")
            except FileNotFoundError:
                # It was the oldest, and there are too many.
                continue
            with source:
                yield source
        if newest is not None:
            yield newest


def is_file(path: Path, status: os.stat_result) -> bool:
    """Whether the file at `path` has this status."""
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


def next_segment(path: Path) -> Path:
    older = older_segments(path)
    last = _SEGMENT.fullmatch(older[-1].name) if older else None
    return path.with_name(f"history-{int(last[1]) + 1 if last else 1:06d}.msgpack")


def remove_oldest(path: Path, total_bytes: int) -> None:
    """Remove the oldest segments until all together are no longer than `total_bytes`. `path` itself stays."""
    older = older_segments(path)
    total = size_of([*older, path])
    for file in older:
        if total <= total_bytes:
            return
        with suppress(OSError):
            size = file.stat().st_size
            file.unlink()
            total -= size


def size_of(files: Iterable[Path]) -> int:
    """Bytes of these files together. One that cannot be looked at counts none."""
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total
