"""Reads a history in pieces of some megabytes, so that a long one needs little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from trust.record.history import Entry
from trust.record.log import History, decoded, is_copy, last_begun
from trust.record.segments import opened_segments

_PIECE: Final = 1 << 22
"""Bytes read at once. A record has some kilobytes, so a record that is not whole in this many bytes is damaged."""


def history_pieces(path: Path) -> Iterator[History]:
    """The entries of a history with all its segments, in order, in pieces. `whole` counts from the start of the oldest.

    Only the last piece of a segment may have a torn end. There is at least one piece. Raises `OSError`.
    """
    begun: Entry | None = None
    offset = 0
    for source in opened_segments(path):
        name = Path(source.name).name
        end, before, is_first = offset, begun, True
        for found in pieces(source):
            entries = found.entries[is_first and is_copy(found.entries, before) :]
            begun, is_first = last_begun(found.entries) or begun, False
            end = offset + found.whole + found.torn
            why = f"{name}, {found.why}" if found.why and name != path.name else found.why
            yield replace(found, entries=entries, whole=offset + found.whole, why=why)
        offset = end


def pieces(source: BinaryIO, *, piece: int = _PIECE) -> Iterator[History]:
    """The entries of one file in order, in pieces. `whole` of a piece counts from the start of the file.

    Only the last piece may have a torn end. There is at least one piece, without entries for an empty file. Raises
    `OSError`.
    """
    begin, rest = 0, b""
    while True:
        more = source.read(piece)
        rest += more
        ended = len(more) < piece
        found = shifted(decoded(rest), begin)
        if found.later or not found.entries:
            # Damage, a record larger than a piece, or a later version: decode the whole rest of the file at once,
            # so that the verdict is the same as for a file read as a whole.
            rest += source.read()
            found = shifted(decoded(rest), begin)
            ended = True
        if ended:
            yield found
            return
        yield replace(found, torn=0, why="")
        rest = rest[found.whole - begin :]
        begin = found.whole


def shifted(history: History, begin: int) -> History:
    """`history`, decoded from the bytes of a file from `begin` on, with offsets that count from the file's start."""
    whole = begin + history.whole
    _, _, why = history.why.partition(": ")
    return replace(history, whole=whole, why=f"byte {whole}: {why}" if why else "")
