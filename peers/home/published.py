"""The list of rounds that were announced: 40 bytes each, appended and flushed before anything is published.

If the newest generation of the state is damaged, the older one is used; without this list the peer would then announce
other bytes for a round that its neighbours have already seen. The list is checked like the state: a record that does
not match its checksum, and a list that ends before what the state says, are named, and the list is written anew. What
is begun with it then lies after every round that may have been announced.

Only the newest `KEPT_ROUNDS` are kept: what lies before them can be announced by no state that is still here.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trust.errors import UserMistake
from trust.files import opened_private, write_whole

_RECORD: Final = struct.Struct("<I32sI")
KEPT_ROUNDS: Final = 1024
"""Rounds kept of a list of twice as many: 40 kB. Guess: two would do, and more may help to find out what
happened."""


@dataclass(frozen=True, slots=True)
class PublishedList:
    """(round, digest) of each whole record, in the order written; how many records are damaged, and whether the last
    one is. Bytes of a last record that a crash cut off count as none."""

    rounds: tuple[tuple[int, bytes], ...]
    damaged: int
    end_damaged: bool

    @property
    def last(self) -> int:
        """The last round known to have been announced, -1 for none."""
        return max((round_ for round_, _ in self.rounds), default=-1)


def read_published(path: Path) -> PublishedList:
    """The list; an empty one where there is no file. Raises `UserMistake` where it cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return PublishedList((), 0, end_damaged=False)
    except OSError as error:
        raise UserMistake(f"{path}: cannot be read ({error.strerror})") from None
    whole = len(data) - len(data) % _RECORD.size
    found = list(_RECORD.iter_unpack(data[:whole]))
    whole_ones = [_check(round_, digest) == check for round_, digest, check in found]
    good = tuple(one[:2] for one, is_whole in zip(found, whole_ones, strict=True) if is_whole)
    return PublishedList(good, len(found) - len(good), end_damaged=not all(whole_ones[-1:]))


def append_published(path: Path, round_: int, digest: bytes) -> None:
    """Append a record, on the disk on return. A long list is written anew with its newest rounds. Raises `OSError`."""
    if _is_long(path) and not (listed := read_published(path)).damaged:
        write_published(path, (*listed.rounds[-KEPT_ROUNDS:], (round_, digest)))
        return
    with os.fdopen(opened_private(path, os.O_RDWR | os.O_APPEND), "ab", buffering=0) as file:
        # A torn record of a crash would shift all later ones: continue at a whole record.
        end = file.seek(0, os.SEEK_END)
        file.truncate(end - end % _RECORD.size)
        record = _record(round_, digest)
        if file.write(record) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())


def _is_long(path: Path) -> bool:
    try:
        return path.stat().st_size >= 2 * KEPT_ROUNDS * _RECORD.size
    except FileNotFoundError:
        return False


def write_published(path: Path, rounds: Iterable[tuple[int, bytes]]) -> None:
    """Replace the list by these rounds. Raises `OSError`, and then the earlier list is unchanged."""
    data = b"".join(_record(round_, digest) for round_, digest in rounds)
    write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)


def _record(round_: int, digest: bytes) -> bytes:
    return _RECORD.pack(round_, digest, _check(round_, digest))


def _check(round_: int, digest: bytes) -> int:
    return zlib.crc32(struct.pack("<I32s", round_, digest))
