"""State that survives a crash: two generations on disk, each in a sealed file.

Generation g is in the file `state.(g mod 2)`. So a new generation replaces the one before the last, and the last stays
as it is until the new one is complete and its name is on the disk (`sealed.py`). A file that does not match its
checksum is named, copied aside and never used.

`published` lists the rounds that were announced: 40 bytes each, appended and flushed before `save` returns, and so
before anything is published. If the newest generation is damaged, the older one is used; without this list the peer
would then announce other bytes for a round that its neighbours have already seen.
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
from peers.home.merge_inputs import write_merge_inputs
from peers.home.sealed import DamagedError, read_sealed, refused, sealed, write_sealed
from trust.errors import UserMistake
from trust.files import flush_folder, remove_unfinished
from wire.digest import digest_of

_MAGIC: Final = b"GLSTATE1"
_PUBLISHED: Final = struct.Struct("<I32sI")
_START_OVER: Final = (
    "start over with a new identity: gossipllm init NEW_FOLDER. (The same identity would announce its rounds a "
    "second time, for which other peers ban it.)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """The state on disk; `saved` is None in a home that never ran. `notes` name the files that were passed over."""

    saved: Saved | None
    notes: tuple[str, ...]


class StateStore:
    """The state of one home. One process at a time: hold the home's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            # Without this, a loss of power could lose the folder, and with it the list of published rounds.
            flush_folder(folder.parent)

    def load(self) -> Found:
        """The newest whole generation, after removing leftovers of interrupted writes.

        Raises `UserMistake` where there are state files and none can be read, or one is of an earlier version:
        starting over would discard the adapter, which only the owner may decide.
        """
        remove_unfinished(self._folder)
        return _found(self._folder, lambda path: f"; {_keep_aside(path)}")

    @staticmethod
    def look(folder: Path) -> Found:
        """`load` for commands that only read: makes no folder, and no copies of damaged files."""
        return _found(folder, lambda _: "")

    def save(self, saved: Saved) -> None:
        """Write a generation to the disk. Blocks. Raises `OSError`; the earlier generations are then unchanged."""
        pieces = sealed(saved, _MAGIC)
        try:
            write_sealed(_slots(self._folder)[saved.generation % 2], pieces)
            if saved.stage == "published":
                self._remember_published(saved.round, digest_of(saved.frame))
            flush_folder(self._folder)
        except OSError as error:
            raise refused(error, pieces, self._folder) from error

    def keep(self, inputs: MergeInputs) -> None:
        """Replace the inputs of the last merge. Blocks. Raises `OSError`; the earlier ones are then unchanged."""
        write_merge_inputs(self._folder, inputs)

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
    """`noticed` is called with each damaged file; what it returns is added to the note on that file."""
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
            f"copy, or {_START_OVER}"
        )
    if last >= 0:
        raise UserMistake(
            f"{folder}: the state files are gone, yet round {last} was announced. Restore them from a copy, or "
            f"{_START_OVER}"
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
    """Copy a damaged file, because its slot will be written again, and say where to. Makes no second copy."""
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
            f"with that version, or {_START_OVER}"
        )
    if saved.version != SAVED_VERSION:
        raise DamagedError(f"written by another version ({saved.version}, this one reads {SAVED_VERSION})")
    return saved
