"""Finds the latest row of each peer in a history, or its row of one round, without decoding the whole file.

A matrix of 100 peers needs 100 records; the history of a long run holds 50,000 in 200 MB. The bytes are searched
backwards from the end for marks, which takes 50 ms where decoding takes 1 s, and only the wanted records are decoded.

A mark is a part of a record's head in which a byte from 80 to BF follows an ASCII letter. Such bytes are not valid
UTF-8, so a mark never occurs inside a text, not even in a hostile name. The beginning of an entry (`_START`) is no
mark: the text U+1F0E4 (a playing card) followed by `at_s` contains the same bytes. So a beginning counts only where an
entry can be decoded from it.

Consequences of decoding only a part: damage is noticed at the end of the file (a torn record, zeros after a power
failure) and in the records that are used, not in those before; and a peer without a `Begun` record is found only if
its rounds come after the oldest row that is needed for the other peers. Files as our writers leave them have neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Final, TypeVar

import msgspec

from trust.inspection.reading.pieces import shifted
from trust.record.history import VERSION, Begun, Entry, PeerName, Record, Round
from trust.record.log import decoded

_START: Final = b"\x83\xa4at_s"
"""First bytes of every entry: a MessagePack map of three whose first key is `at_s`."""

_BEGUN: Final = b"\xa4kind\xa5begun"
_ROUND: Final = b"\xa4kind\xa5round\xa4peer"
_NUMBER: Final = b"\xa5round"
_AFTER_NUMBER: Final = b"\xabself_weight"

_TRIES: Final = 64
"""Beginnings that are tried for one record. A false one needs a name crafted for it; a record has some 16 names."""

_LONG_TEXTS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Type byte of a MessagePack text of 32 bytes or more -> number of bytes of its length field."""

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Kind = TypeVar("_Kind", Begun, Round)


@dataclass(frozen=True, slots=True)
class Tail:
    """Result of reading a history from its end.

    `names` maps peers to names, in the order in which peers first began; a peer's last name counts. `rows` are the
    wanted rounds. `whole` is the length of the whole records in bytes; `torn` bytes follow them, and `why` says why
    these could not be decoded.
    """

    names: dict[PeerName, str]
    rows: dict[PeerName, Round]
    whole: int
    torn: int
    why: str


class _UnclearError(Exception):
    """The bytes cannot be understood from their end; the caller must decode the whole file."""


def read_tail(data: bytes | mmap, *, at_round: int | None = None) -> Tail | None:
    """The same result as decoding all of `data`, or None where only full decoding can give it: the end is not
    understood, or a later version of the program wrote a part."""
    try:
        whole, torn, why = _end(data)
        names = _names(data, whole)
        rows = _latest(data, whole, names) if at_round is None else _of_round(data, whole, at_round)
    except _UnclearError:
        return None
    return Tail(names, rows, whole, torn, why) if names or rows else None


def _end(data: bytes | mmap) -> tuple[int, int, str]:
    """(Length of the whole records, number of bytes after them, why these are not records)."""
    if data[: len(_START)] != _START:
        raise _UnclearError
    begin = len(data)
    for _ in range(_TRIES):
        begin = data.rfind(_START, 0, begin)
        if begin < 0:
            break
        last = decoded(data[begin:])
        if last.entries:
            if last.later:
                break
            last = shifted(last, begin)
            return last.whole, last.torn, last.why
    raise _UnclearError


def _names(data: bytes | mmap, end: int) -> dict[PeerName, str]:
    begun = [_record(data, mark, end, Begun) for mark in _backwards(data, _BEGUN, end)]
    if any(record.version > VERSION for record in begun):
        raise _UnclearError
    return {record.peer: record.name for record in reversed(begun)}


def _latest(data: bytes | mmap, end: int, names: dict[PeerName, str]) -> dict[PeerName, Round]:
    """The last row of each peer, searched backwards until every peer in `names` has a row.

    Searches up to the start where a row belongs to a peer that is not in `names`.
    """
    rows: dict[PeerName, Round] = {}
    missing = {name.encode() for name in names}
    seen: set[bytes] = set()
    for mark in _backwards(data, _ROUND, end):
        # The peer is read from the raw bytes, so that the records of a peer before its last are not decoded.
        peer = _text(data, mark + len(_ROUND))
        if peer in seen:
            continue
        seen.add(peer)
        record = _record(data, mark, end, Round)
        rows[record.peer] = record
        missing.discard(peer)
        if not missing and len(rows) == len(names):
            break
    return rows


def _of_round(data: bytes | mmap, end: int, number: int) -> dict[PeerName, Round]:
    mark = _NUMBER + msgspec.msgpack.encode(number) + _AFTER_NUMBER
    rows: dict[PeerName, Round] = {}
    for place in _backwards(data, mark, end):
        record = _record(data, place, end, Round)
        # A round that was repeated after a crash counts as it was written last.
        rows.setdefault(record.peer, record)
    return rows


def _backwards(data: bytes | mmap, mark: bytes, end: int) -> Iterator[int]:
    while (end := data.rfind(mark, 0, end)) >= 0:
        yield end


def _record(data: bytes | mmap, mark: int, end: int, kind: type[_Kind]) -> _Kind:
    """The record whose mark stands at `mark`."""
    begin = mark
    for _ in range(_TRIES):
        begin = data.rfind(_START, 0, begin)
        if begin < 0:
            break
        record = _decoded_from(data, begin, mark, end)
        if isinstance(record, kind):
            return record
    raise _UnclearError


def _decoded_from(data: bytes | mmap, begin: int, mark: int, end: int) -> Record | None:
    """The record of the entry from `begin` on, or None. It ends at the next `_START` from which on it decodes: names
    inside the entry may contain these bytes."""
    stop = mark
    for _ in range(_TRIES):
        stop = data.find(_START, stop + 1, end)
        stop = end if stop < 0 else stop
        try:
            return msgspec.msgpack.decode(data[begin:stop], type=Entry).record
        except _UNREADABLE:
            if stop == end:
                break
    return None


def _text(data: bytes | mmap, at: int) -> bytes:
    """The UTF-8 bytes of the MessagePack text at offset `at`."""
    first = data[at]
    if 0xA0 <= first < 0xC0:
        return data[at + 1 : at + 1 + first - 0xA0]
    if first not in _LONG_TEXTS:
        raise _UnclearError
    begin = at + 1 + _LONG_TEXTS[first]
    return data[begin : begin + int.from_bytes(data[at + 1 : begin], "big")]
