"""State that survives a crash: two generations on disk, each whole or not there.

Generation g lies in the file `state.(g mod 2)`, so a new one replaces the one before the last and the last stays
as it is until the new one is complete and its name on the disk (`sealed.py`). What does not match its checksum is
named, kept aside and never used.

`published` remembers which rounds were announced: 40 bytes each, appended and flushed before `save` returns,
and so before anything is published. An older generation may have to serve where the newest was damaged; without
this list it would announce other bytes for a round that the world has already seen.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peers.core.merge_inputs import MergeInputs
from peers.core.saved import SAVED_VERSION, Saved, recovered
from peers.home.merge_inputs import write_company
from peers.home.sealed import DamagedError, read_sealed, refused, sealed, write_sealed
from trust.errors import UserMistake
from trust.files import flush_folder, remove_unfinished
from wire.digest import digest_of

_MAGIC: Final = b"GLSTATE1"
_PUBLISHED: Final = struct.Struct("<I32sI")
_BEGIN_ANEW: Final = (
    "begin anew as somebody else, with: gossipllm init NEW_FOLDER. (The same identity would announce its rounds a "
    "second time, for which others ban it.)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What was on disk. `notes` say what had to be passed over; None means a home that never ran."""

    saved: Saved | None
    notes: tuple[str, ...]


class StateStore:
    """The state of one home. One process at a time: hold the home's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            # Without this, a loss of power could take the folder along, with the memory of what was published.
            flush_folder(folder.parent)

    def load(self) -> Found:
        """The newest generation that is whole.

        Raises `UserMistake` where there are state files and none can be read, or one is of an earlier version:
        starting afresh would throw away what was learned, and only the owner may decide that.
        """
        remove_unfinished(self._folder)
        return _found(self._folder, lambda path: f"; {_keep_aside(path)}")

    @staticmethod
    def look(folder: Path) -> Found:
        """The same, for those who only read: no folder is made, and no copy of what is damaged."""
        return _found(folder, lambda _: "")

    def save(self, saved: Saved) -> None:
        """Make it durable. Blocks; raises `OSError` and leaves the earlier generations as they were."""
        pieces = sealed(saved, _MAGIC)
        try:
            write_sealed(_slots(self._folder)[saved.generation % 2], pieces)
            if saved.stage == "published":
                self._remember_published(saved.round, digest_of(saved.frame))
            flush_folder(self._folder)
        except OSError as error:
            raise refused(error, pieces, self._folder) from error

    def keep(self, company: MergeInputs) -> None:
        """Let it take the place of the last one. Blocks; raises `OSError` and leaves the last one as it was."""
        write_company(self._folder, company)

    def _remember_published(self, round_: int, digest: bytes) -> None:
        record = struct.pack("<I32s", round_, digest)
        record += struct.pack("<I", zlib.crc32(record))
        with _published(self._folder).open("ab", buffering=0) as file:
            # A torn record of a crash would shift all later ones: continue at a whole record.
            file.truncate(file.tell() - file.tell() % _PUBLISHED.size)
            if file.write(record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())


def _found(folder: Path, noticed: Callable[[Path], str]) -> Found:
    """`noticed` is told of a damaged file, and what it returns is added to what is said of it."""
    good: list[Saved] = []
    damages: list[str] = []
    for path in _slots(folder):
        try:
            good.append(_read(path))
        except FileNotFoundError:
            continue
        except DamagedError as damage:
            damages.append(f"{path.name}: {damage}{noticed(path)}")
        except OSError as error:
            damages.append(f"{path.name}: cannot be read ({error.strerror})")
    last = _last_published(folder)
    if good:
        newest = max(good, key=lambda one: one.generation)
        notes = tuple(f"{damage}; using generation {newest.generation}" for damage in damages)
        return Found(recovered(newest, published_round=last), notes)
    if damages:
        raise UserMistake(
            f"{folder}: no generation of the state can be read ({'; '.join(damages)}). Restore the folder from a "
            f"copy, or {_BEGIN_ANEW}"
        )
    if last >= 0:
        raise UserMistake(
            f"{folder}: the state files are gone, yet round {last} was announced. Restore them from a copy, or "
            f"{_BEGIN_ANEW}"
        )
    return Found(None, ())


def _slots(folder: Path) -> tuple[Path, Path]:
    return folder / "state.0", folder / "state.1"


def _published(folder: Path) -> Path:
    """The list of published rounds."""
    return folder / "published"


def _last_published(folder: Path) -> int:
    """The last round known to have been announced, -1 for none. Raises `UserMistake`."""
    path = _published(folder)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise UserMistake(f"{path}: cannot be read ({error.strerror})") from None
    whole = len(data) - len(data) % _PUBLISHED.size
    rounds = (
        round_
        for round_, digest, check in _PUBLISHED.iter_unpack(data[:whole])
        if zlib.crc32(struct.pack("<I32s", round_, digest)) == check
    )
    return max(rounds, default=-1)


def _keep_aside(path: Path) -> str:
    """Copy a damaged file, once however often it is found, and say where to: its slot will be written again."""
    try:
        aside = path.with_name(f"{path.name}.corrupt-{int(path.stat().st_mtime)}")
        if not aside.exists():
            shutil.copy2(path, aside)
    except OSError as error:
        return f"no copy could be kept ({error.strerror})"
    return f"a copy is kept as {aside.name}"


def _read(path: Path) -> Saved:
    saved: Saved = read_sealed(path, _MAGIC, Saved)
    if saved.version < SAVED_VERSION:
        raise UserMistake(
            f"{path}: an earlier version of gossipllm wrote this state, for networks of an earlier protocol. Go on "
            f"with that version, or {_BEGIN_ANEW}"
        )
    if saved.version != SAVED_VERSION:
        raise DamagedError(f"written by another version ({saved.version}, this one reads {SAVED_VERSION})")
    return saved
