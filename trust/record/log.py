"""Reads history files, and any number of readers read without a lock while one writer appends records (`writer.py`).

A home's history is kept in segments (`segments.py`); what is said here holds for each. A file never shrinks while a
writer lives, and a record is a single `write` on a descriptor opened for appending, so the worst that a reader sees is
the first bytes of a record that is being written. Damage ends what is read of a file, because MessagePack has no
markers from which to find the next record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from trust.names import escaped
from trust.record.history import VERSION, Begun, Entry
from trust.record.segments import opened_segments

_START = b"\x83\xa4at_s"
"""The first bytes of every entry: a map of three items, whose first key is `at_s`."""


@dataclass(frozen=True, slots=True)
class History:
    """The complete records of a history, in the order written, and what follows them.

    `whole` is the length of the complete records in bytes. `torn` is the number of bytes behind them and `why` the
    reason; such bytes are normal while a peer is writing. `later` means that a later program version wrote them.
    """

    entries: tuple[Entry, ...]
    whole: int
    torn: int
    why: str
    later: bool


def read_history(path: Path) -> History:
    """Read the complete records of a history, which may be written to meanwhile. Raises `OSError` only."""
    return joined(decoded(source.read()) for source in opened_segments(path))


def joined(segments: Iterable[History]) -> History:
    """Segments as one history: without the copies of `Begun` at their beginnings."""
    entries: list[Entry] = []
    begun: Entry | None = None
    whole = torn = 0
    why, later = "", False
    for segment in segments:
        entries += segment.entries[1:] if is_copy(segment.entries, begun) else segment.entries
        begun = last_begun(segment.entries) or begun
        whole, torn = whole + segment.whole, torn + segment.torn
        why, later = segment.why or why, later or segment.later
    return History(tuple(entries), whole, torn, why, later)


def is_copy(entries: Sequence[Entry], begun: Entry | None) -> bool:
    """Whether a segment with these entries begins with a copy of `begun`, the last one of the segments before."""
    return begun is not None and bool(entries) and entries[0] == begun


def last_begun(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in reversed(entries) if isinstance(entry.record, Begun)), None)


def decoded(data: bytes) -> History:
    """Decode the records in `data` up to the first that is torn, damaged or unknown. Raises nothing."""
    entries: list[Entry] = []
    whole = 0
    try:
        for entry, end in _records(data):
            entries.append(entry)
            whole = end
    except _StoppedError as stop:
        return History(tuple(entries), whole, len(data) - whole, f"byte {whole}: {stop}", stop.later)
    return History(tuple(entries), whole, 0, "", False)


class _StoppedError(Exception):
    """The reason why reading stops before the end of the file."""

    def __init__(self, why: str, *, later: bool = False) -> None:
        super().__init__(why)
        self.later = later


class _Boundaries(Protocol):
    """The methods used of `msgpack.Unpacker`, which has no type annotations."""

    def feed(self, data: bytes, /) -> None: ...
    def skip(self) -> None: ...
    def tell(self) -> int: ...


class _AnyRecord(msgspec.Struct):
    version: int = 0


class _AnyEntry(msgspec.Struct):
    """The part of an entry that is the same in all versions."""

    record: _AnyRecord


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors that msgspec raises for invalid bytes; it has none of its own for invalid UTF-8 and for deep nesting."""


def _records(data: bytes) -> Iterator[tuple[Entry, int]]:
    """Yield each entry with the offset of its end. Raises `_StoppedError` before the first invalid byte."""
    # msgpack finds the ends and msgspec decodes what lies between: about 190 MB/s together, more than twice the speed
    # of msgpack with `msgspec.convert`. msgspec alone does not say where a value ends.
    decoder = msgspec.msgpack.Decoder(Entry)
    boundaries: _Boundaries = cast("Any", msgpack).Unpacker(max_buffer_size=max(len(data), 1))
    boundaries.feed(data)
    view = memoryview(data)
    begin = 0
    while begin < len(data):
        try:
            boundaries.skip()
        except (msgpack.UnpackException, ValueError):
            torn = begins_like_a_record(data[begin:])
            raise _StoppedError("the record is not whole" if torn else "not a record") from None
        end = boundaries.tell()
        try:
            entry = decoder.decode(view[begin:end])
        except _UNREADABLE as error:
            _stop_if_later(view[begin:end])
            raise _StoppedError(f"not a record: {escaped(str(error))}") from None
        # A later version may write records that this version can decode but misunderstands.
        if isinstance(entry.record, Begun):
            _stop_if_later(view[begin:end])
        yield entry, end
        begin = end


def _stop_if_later(data: memoryview) -> None:
    try:
        version = msgspec.msgpack.decode(data, type=_AnyEntry).record.version
    except _UNREADABLE:
        return
    if version > VERSION:
        raise _StoppedError(f"of version {version}, and this program reads {VERSION}", later=True)


def begins_like_a_record(data: bytes) -> bool:
    """Whether a crash can have left these bytes: the start of an entry, or zeros that were never overwritten."""
    return data.startswith(_START) or _START.startswith(data) or not data.strip(b"\0")
