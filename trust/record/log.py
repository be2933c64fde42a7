"""Reads and writes history files: one writer appends records, and any number of readers read without a lock.

The file never shrinks while a writer lives, and a record is a single `write` on a descriptor opened for appending, so
the worst that a reader sees is the first bytes of a record that is being written.

A writer that dies within a write leaves such bytes permanently; so does a loss of power, which may also leave zeros.
The next writer copies everything after the last complete record to a file beside the history, so that nothing is lost,
truncates the history, and appends a `Note` about it. Later records can then be read again. The alternative, to skip
damage while reading, was refused because MessagePack has no markers from which to find the next record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from trust.files import keep_aside, opened_private
from trust.names import escaped
from trust.record.history import VERSION, Begun, Entry, Note, Record, Refusal, Round, Traffic

_START = b"\x83\xa4at_s"
"""The first bytes of every entry: a map of three items, whose first key is `at_s`."""

_NOTE_LENGTH = 500
"""Most characters of a note; `history.Note.text` has the same bound."""


class NoHistoryError(ValueError):
    """The file is not a history, or a history of a later version. The file is not changed."""


@dataclass(frozen=True, slots=True)
class History:
    """The complete records of a file, in the order written, and what follows them.

    `whole` is the length of the complete records in bytes. `torn` is the number of bytes behind them and `why` the
    reason; such bytes are normal while a peer is writing. `later` means that a later program version wrote them.
    """

    entries: tuple[Entry, ...]
    whole: int
    torn: int
    why: str
    later: bool


def read_history(path: Path) -> History:
    """Read the complete records of a file, which may be written to meanwhile. Raises `OSError` only."""
    return decoded(path.read_bytes())


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


class HistoryWriter:
    """Appends records to the history of `peer`. A history has one writer at a time: hold the lock of the peer's home.

    Opening repairs a torn file; `now` (Unix seconds) is the time of the note about it. With `sync`, a record is on the
    disk before `append` returns, so it survives a loss of power; this takes some milliseconds for each record. A crash
    of the process loses nothing either way. Raises `NoHistoryError` for a file that must not be continued, and
    `OSError`.
    """

    def __init__(self, path: Path, *, peer: str, now: float, sync: bool = False) -> None:
        self._sync = sync
        self._length = 0
        self._decoder = msgspec.msgpack.Decoder(Entry)
        self._file = opened_private(path, os.O_RDWR | os.O_APPEND)
        try:
            self._repair(path, peer, now)
        except BaseException:
            self.close()
            raise

    def append(self, entry: Entry) -> None:
        """Append a record completely or not at all. Text from other peers is escaped and cut here.

        Raises `ValueError` for an entry that could not be read back, because it would hide all later entries, and
        `OSError` where writing fails; the file is then unchanged.
        """
        data = msgspec.msgpack.encode(msgspec.structs.replace(entry, record=_escaped(entry.record)))
        try:
            self._decoder.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(f"entry must be readable again: {error}") from None
        # Unbuffered and in a single call, so that a reader never sees a record whose end is still in this process.
        written = os.write(self._file, data)
        if written != len(data):
            os.ftruncate(self._file, self._length)
            raise OSError(f"only {written} of {len(data)} bytes of a record could be written")
        self._length += len(data)
        if self._sync:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file. Closing again does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repair(self, path: Path, peer: str, now: float) -> None:
        data = path.read_bytes()
        history = decoded(data)
        self._length = history.whole
        if not history.torn:
            return
        rest = data[history.whole :]
        # A file without a single record is repaired only if a crash can explain its bytes: it may not be ours.
        if history.later or not (history.entries or _begins_like_a_record(rest)):
            raise NoHistoryError(f"{path} cannot be continued: {history.why}; move it away")
        aside = keep_aside(path, f"torn-{history.whole}", rest)
        os.ftruncate(self._file, history.whole)
        text = (
            f"history: {history.torn} bytes that are no whole record are now in {aside.name}; {history.why}"
        )
        note = Note(peer=peer, level="warning", text=text)
        self.append(Entry(at_s=now, traffic=Traffic(sent={}, received={}), record=note))


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
            torn = _begins_like_a_record(data[begin:])
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


def _begins_like_a_record(data: bytes) -> bool:
    """Whether a crash can have left these bytes: the start of an entry, or zeros that were never overwritten."""
    return data.startswith(_START) or _START.startswith(data) or not data.strip(b"\0")


def _escaped(record: Record) -> Record:
    match record:
        case Begun():
            return msgspec.structs.replace(record, name=escaped(record.name))
        case Round():
            escaped_seen = (
                msgspec.structs.replace(seen, peer=escaped(seen.peer), name=escaped(seen.name))
                for seen in record.seen
            )
            return msgspec.structs.replace(record, seen=tuple(escaped_seen))
        case Refusal():
            return msgspec.structs.replace(
                record, about=escaped(record.about), field=escaped(record.field), why=escaped(record.why)
            )
        case Note():
            return msgspec.structs.replace(record, text=escaped(record.text, _NOTE_LENGTH))
