"""The latest row of each peer in a history, or its row of one round, without decoding all of it.

A matrix of 100 peers needs 100 records; the history of a long run holds 50,000 in 200 MB. These are searched from
their end for marks, which takes 50 ms where decoding takes 1 s, and only the records that are wanted are decoded.

A mark is a piece of a record's head in which a byte from 80 to BF follows an ASCII letter. That is no UTF-8, so a
mark never stands in a text, however hostile a name. How an entry begins is no mark: U+1F0E4, a playing card, and
`at_s` begin with the same bytes. So a beginning counts only where an entry can be decoded from it.

What follows from not decoding all: damage is noticed at the end of the file (a torn record, zeros after a loss of
power) and in the records that are used, not before them; and of peers of which there is no `Begun`, only those are
found that the way back to everybody else's row leads past. Both are as our writers leave a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Final, TypeVar

import msgspec

from trust.inspection.reading.pieces import moved
from trust.record.history import VERSION, Begun, Entry, PeerName, Record, Round
from trust.record.log import decoded

_START: Final = b"\x83\xa4at_s"
"""How every entry begins: a map of three, whose first key is `at_s`."""

_BEGUN: Final = b"\xa4kind\xa5begun"
_ROUND: Final = b"\xa4kind\xa5round\xa4peer"
_NUMBER: Final = b"\xa5round"
_AFTER_NUMBER: Final = b"\xabself_weight"

_TRIES: Final = 64
"""Beginnings that are tried for one record. Each false one is a name made for it, and a record has some 16 names."""

_LONG_TEXTS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Type byte of a MessagePack text from 32 bytes on -> bytes of its length."""

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Kind = TypeVar("_Kind", Begun, Round)


@dataclass(frozen=True, slots=True)
class Tail:
    """`names` by peer, in the order in which peers first began; the last name counts. `rows` are the wanted rounds.

    `torn` bytes follow the whole records, whose length is `whole`; `why` says what they are.
    """

    names: dict[PeerName, str]
    rows: dict[PeerName, Round]
    whole: int
    torn: int
    why: str


class _UnclearError(Exception):
    pass


def read_tail(data: bytes | mmap, *, at_round: int | None = None) -> Tail | None:
    """What reading all of `data` gives, or None where that must be done: its end is not understood, or a later
    version wrote in it."""
    try:
        whole, torn, why = _end(data)
        names = _names(data, whole)
        rows = _latest(data, whole, names) if at_round is None else _of_round(data, whole, at_round)
    except _UnclearError:
        return None
    return Tail(names, rows, whole, torn, why) if names or rows else None


def _end(data: bytes | mmap) -> tuple[int, int, str]:
    """(Length of the whole records, bytes after them, why these are none)."""
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
            last = moved(last, begin)
            return last.whole, last.torn, last.why
    raise _UnclearError


def _names(data: bytes | mmap, end: int) -> dict[PeerName, str]:
    begun = [_record(data, mark, end, Begun) for mark in _backwards(data, _BEGUN, end)]
    if any(record.version > VERSION for record in begun):
        raise _UnclearError
    return {record.peer: record.name for record in reversed(begun)}


def _latest(data: bytes | mmap, end: int, names: dict[PeerName, str]) -> dict[PeerName, Round]:
    """Backwards until everybody who began has a row; to the start where somebody did who never began."""
    rows: dict[PeerName, Round] = {}
    missing = {name.encode() for name in names}
    met: set[bytes] = set()
    for mark in _backwards(data, _ROUND, end):
        peer = _text(data, mark + len(_ROUND))
        if peer in met:
            continue
        met.add(peer)
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
    """The record that has its mark there."""
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
    """It ends where the next begins, or after names that look so."""
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
    """The MessagePack text there, as it is encoded."""
    first = data[at]
    if 0xA0 <= first < 0xC0:
        return data[at + 1 : at + 1 + first - 0xA0]
    if first not in _LONG_TEXTS:
        raise _UnclearError
    begin = at + 1 + _LONG_TEXTS[first]
    return data[begin : begin + int.from_bytes(data[at + 1 : begin], "big")]
