"""The history on disk: one writer appends whole records, anyone reads what is whole at any moment.

The file never shrinks while a writer lives, and a record is one `write` on a descriptor opened for
appending, so a reader needs no lock: at worst it sees the first bytes of a record that is being written.

A writer that died in the middle leaves such bytes for good (so does a loss of power, which may also leave
zeros). The next writer copies what follows the last whole record to a file beside the history, so that
nothing is destroyed, cuts it off, and says so in a `Note`; every later record can be read again. Refused:
skipping damage while reading, because MessagePack has no marks to find the next record by.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from trust.files import write_whole
from trust.names import escaped
from trust.record.history import VERSION, Begun, Entry, Note, Record, Refusal, Round, Traffic

_START = b"\x83\xa4at_s"
"""How every entry begins: a map of three, whose first key is `at_s`."""

_NOTE_LENGTH = 500


class NoHistoryError(ValueError):
    """A file that is no history, or one of a later version. It is left as it is."""


@dataclass(frozen=True, slots=True)
class History:
    """The whole records of a file in the order written, and what follows them.

    `torn` bytes at the end, whose reason is `why`, are normal while a peer is writing. `whole` is the length
    of what was read. `later` says that a later version of this program wrote the rest.
    """

    entries: tuple[Entry, ...]
    whole: int
    torn: int
    why: str
    later: bool


def read_history(path: Path) -> History:
    """What is whole in the file, at any moment, also while it is written. Raises `OSError` only."""
    return decoded(path.read_bytes())


def decoded(data: bytes) -> History:
    """The records in `data` up to the first that is torn, damaged or unknown. Raises nothing."""
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
    """Appends to the history of `peer`. There must be one writer at a time: hold the lock of the peer's home.

    Opening mends a torn file (`now` is the time of the note that says so, in Unix seconds). With `sync`, a
    record is on the disk before `append` returns: some milliseconds each, and safe from a loss of power; a
    crash of the process alone loses nothing either way. Raises `NoHistoryError` for a file that it must not
    continue, and `OSError` as the disk does.
    """

    def __init__(self, path: Path, *, peer: str, now: float, sync: bool = False) -> None:
        self._sync = sync
        self._length = 0
        self._decoder = msgspec.msgpack.Decoder(Entry)
        self._file = _opened(path, os.O_APPEND)
        try:
            self._mend(path, peer, now)
        except BaseException:
            self.close()
            raise

    def append(self, entry: Entry) -> None:
        """One record, whole or not at all. Text from other peers is escaped and cut here.

        Raises `ValueError` for an entry that could not be read back (it would hide all that follow it), and
        `OSError` where the disk refuses; the file is then as it was.
        """
        data = msgspec.msgpack.encode(msgspec.structs.replace(entry, record=_escaped(entry.record)))
        try:
            self._decoder.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(f"entry must be readable again: {error}") from None
        written = os.write(self._file, data)
        if written != len(data):
            os.ftruncate(self._file, self._length)
            raise OSError(f"only {written} of {len(data)} bytes of a record could be written")
        self._length += len(data)
        if self._sync:
            os.fsync(self._file)

    def close(self) -> None:
        """Repeating it does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mend(self, path: Path, peer: str, now: float) -> None:
        data = path.read_bytes()
        history = decoded(data)
        self._length = history.whole
        if not history.torn:
            return
        rest = data[history.whole :]
        if history.later or not (history.entries or _begins_like_a_record(rest)):
            raise NoHistoryError(f"{path} cannot be continued: {history.why}; move it away")
        aside = path.with_name(f"{path.name}.torn-{history.whole}")
        write_whole(aside, lambda file: file.write(rest), mode=0o600, durable=True)
        os.ftruncate(self._file, history.whole)
        text = (
            f"history: {history.torn} bytes that are no whole record are now in {aside.name}; {history.why}"
        )
        note = Note(peer=peer, level="warning", text=text)
        self.append(Entry(at_s=now, traffic=Traffic(sent={}, received={}), record=note))


class _StoppedError(Exception):
    """Why reading ends before the file does."""

    def __init__(self, why: str, *, later: bool = False) -> None:
        super().__init__(why)
        self.later = later


class _Boundaries(Protocol):
    """What is used of `msgpack.Unpacker`, which has no types."""

    def feed(self, data: bytes, /) -> None: ...
    def skip(self) -> None: ...
    def tell(self) -> int: ...


class _AnyRecord(msgspec.Struct):
    version: int = 0


class _AnyEntry(msgspec.Struct):
    """What can be asked of an entry of any version."""

    record: _AnyRecord


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes of others: bad text is not among its own errors."""


def _records(data: bytes) -> Iterator[tuple[Entry, int]]:
    """Each entry with the byte at which it ends. msgpack finds the ends, msgspec reads what lies between:
    together about 190 MB/s, more than twice what msgpack and `msgspec.convert` reach."""
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
    """Whether a crash may have left this: the start of an entry, or zeros that were never overwritten."""
    return data.startswith(_START) or _START.startswith(data) or not data.strip(b"\0")


def _escaped(record: Record) -> Record:
    match record:
        case Begun():
            return msgspec.structs.replace(record, name=escaped(record.name))
        case Round():
            seen = (
                msgspec.structs.replace(one, peer=escaped(one.peer), name=escaped(one.name))
                for one in record.seen
            )
            return msgspec.structs.replace(record, seen=tuple(seen))
        case Refusal():
            return msgspec.structs.replace(
                record, about=escaped(record.about), field=escaped(record.field), why=escaped(record.why)
            )
        case Note():
            return msgspec.structs.replace(record, text=escaped(record.text, _NOTE_LENGTH))


def _opened(path: Path, how: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | how | int(getattr(os, "O_BINARY", 0))
    return os.open(path, flags, 0o600)
