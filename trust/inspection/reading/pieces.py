"""A history in pieces of some megabytes, so that a long one can be gone through in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from trust.record.log import History, decoded

_PIECE: Final = 1 << 22
"""Bytes read at once. A record has some kilobytes: what is not whole in so many is damage."""


def pieces(file: Path, *, piece: int = _PIECE) -> Iterator[History]:
    """Its entries in order. Only the last piece may have a torn end; `whole` counts from the file's start.

    There is at least one piece, without entries where the file has none. Raises `OSError`.
    """
    with file.open("rb") as source:
        begin, rest = 0, b""
        while True:
            more = source.read(piece)
            rest += more
            ended = len(more) < piece
            found = moved(decoded(rest), begin)
            if found.later or not found.entries:
                # Damage, a record as large as a piece, or a later version: all that follows is judged together.
                rest += source.read()
                found = moved(decoded(rest), begin)
                ended = True
            if ended:
                yield found
                return
            yield replace(found, torn=0, why="")
            rest = rest[found.whole - begin :]
            begin = found.whole


def moved(history: History, begin: int) -> History:
    """As it is in a file in which its first byte is the one at `begin`."""
    whole = begin + history.whole
    _, _, why = history.why.partition(": ")
    return replace(history, whole=whole, why=f"byte {whole}: {why}" if why else "")
