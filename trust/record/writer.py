"""Appends records to a history. Every record is there whole or not at all, whatever ends the process.

A writer that dies within a write leaves the first bytes of a record permanently; so does a loss of power, which may
also leave zeros. The next writer copies everything after the last complete record to a file beside the history, so that
nothing is lost, truncates the history, and appends a `Note` about it. Later records can then be read again. The
alternative, to skip damage while reading, was refused because MessagePack has no markers from which to find the next
record.

A long history is continued in a new segment (`segments.py`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from trust.files import keep_aside, opened_private
from trust.names import escaped
from trust.record.history import Begun, Entry, Note, Record, Refusal, Round, Traffic
from trust.record.log import History, begins_like_a_record, decoded, last_begun
from trust.record.segments import HistoryLimits, is_file, next_segment, older_segments, remove_oldest

_NOTE_LENGTH = 500
"""Most characters of a note; `history.Note.text` has the same bound."""


class NoHistoryError(ValueError):
    """The file is not a history, or a history of a later version. The file is not changed."""


class HistoryWriter:
    """Appends records to the history of `peer`. A history has one writer at a time: hold the lock of the peer's home.

    Opening repairs a torn file; `now` (Unix seconds) is the time of the note about it. With `sync`, a record is on the
    disk before `append` returns, so it survives a loss of power; this takes some milliseconds for each record. A crash
    of the process loses nothing either way. With `limits`, a long history is continued in a new segment.

    Raises `NoHistoryError` for a file that must not be continued, and `OSError`.
    """

    def __init__(
        self, path: Path, *, peer: str, now: float, sync: bool = False, limits: HistoryLimits | None = None
    ) -> None:
        self._path = path
        self._sync = sync
        self._limits = limits
        self._begun: Entry | None = None
        """The last `Begun`, whose copy begins the next segment."""
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
        is_begun = isinstance(entry.record, Begun)
        self._make_room()
        if not self._length and self._begun is not None and not is_begun:
            self._write(msgspec.msgpack.encode(self._begun))
        self._write(data)
        if is_begun:
            self._begun = self._decoder.decode(data)
        if self._sync:
            os.fsync(self._file)

    def _write(self, data: bytes) -> None:
        self._cut()
        # Unbuffered and in a single call, so that a reader never sees a record whose end is still in this process.
        written = os.write(self._file, data)
        if written != len(data):
            os.ftruncate(self._file, self._length)
            raise OSError(f"only {written} of {len(data)} bytes of a record could be written")
        self._length += len(data)

    def _cut(self) -> None:
        """Cut off what a short write before has left, if that could not be done then: it would hide later records."""
        if os.fstat(self._file).st_size != self._length:
            os.ftruncate(self._file, self._length)

    def _make_room(self) -> None:
        """Continue in a new segment where the newest is long enough. Where that fails, it grows on, until it works."""
        limits = self._limits
        if limits is None or self._length < limits.segment_bytes:
            return
        with suppress(OSError):
            self._cut()
            # A try before may have renamed the file and found no descriptor for the new one.
            if is_file(self._path, os.fstat(self._file)):
                self._path.replace(next_segment(self._path))
            newest = opened_private(self._path, os.O_RDWR | os.O_APPEND)
            os.close(self._file)
            self._file, self._length = newest, 0
            if limits.total_bytes:
                remove_oldest(self._path, limits.total_bytes)

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
        notes: list[str] = []
        history = _mended(path, self._file, notes)
        self._length = history.whole
        self._begun = last_begun(history.entries)
        older = older_segments(path)
        if not history.whole and older:
            # The writer before ended before the first record of a new segment, perhaps while it still wrote to the old.
            descriptor = os.open(older[-1], os.O_RDWR)
            try:
                self._begun = last_begun(_mended(older[-1], descriptor, notes).entries)
            finally:
                os.close(descriptor)
        for text in notes:
            note = Note(peer=peer, level="warning", text=text)
            self.append(Entry(at_s=now, traffic=Traffic(sent={}, received={}), record=note))


def _mended(path: Path, descriptor: int, notes: list[str]) -> History:
    """The records of a file, after what is no whole record was put aside, which is told in `notes`."""
    data = path.read_bytes()
    history = decoded(data)
    if not history.torn:
        return history
    rest = data[history.whole :]
    # A file without a single record is repaired only if a crash can explain its bytes: it may not be ours.
    if history.later or not (history.entries or begins_like_a_record(rest)):
        raise NoHistoryError(f"{path} cannot be continued: {history.why}; move it away")
    aside = keep_aside(path, f"torn-{history.whole}", rest)
    os.ftruncate(descriptor, history.whole)
    notes.append(
        f"history: {history.torn} bytes that are no whole record are now in {aside.name}; {history.why}"
    )
    return history


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
