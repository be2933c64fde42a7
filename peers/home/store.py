"""State that survives a crash: two generations on disk, each in a sealed file.

Generation g is in the file `state.(g mod 2)`. So a new generation replaces the one before the last, and the last stays
as it is until the new one is complete and its name is on the disk (`sealed.py`). Large contents are in files of their
own for each of the two (`contents.py`). A file that does not match its checksum is named, copied aside and never used.

`published` lists the rounds that were announced (`published.py`), and is written before `save` returns. Where the list
and a generation are both damaged, what was announced is not known, and the peer goes on some rounds later: a gap in an
author's rounds is no fault, a second announcement of one round is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peers.core.merge_inputs import MergeInputs
from peers.core.saved import SAVED_VERSION, Saved, recovered
from peers.home.contents import STATE_FILES, Contents
from peers.home.merge_inputs import contents_of_inputs, write_merge_inputs
from peers.home.published import (
    KEPT_ROUNDS,
    PublishedList,
    append_published,
    read_published,
    write_published,
)
from peers.home.sealed import DamagedError, read_sealed, refused, sealed, write_sealed
from trust.counting import counted
from trust.errors import UserMistake
from trust.files import flush_folder, keep_aside, make_private_folder, remove_unfinished
from wire.digest import digest_of

_MAGIC: Final = b"GLSTATE1"
"""Of a file that holds all contents of its generation, as earlier versions wrote it."""
_APART: Final = b"GLSTATE2"
"""Of a file whose large contents are beside it."""
_UNKNOWN_ROUNDS: Final = 4
"""How many rounds later a peer goes on where a generation and the list are damaged. A generation that was not saved
(full disk) is passed over, so the lost one may be a round or two ahead of the one that is left."""
_UNKNOWN_DIGEST: Final = bytes(32)
"""Stands in the list for an announcement that may have been made."""
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
        self._contents = _contents(folder)
        self._of_inputs = contents_of_inputs(folder)
        make_private_folder(folder)

    def load(self) -> Found:
        """The newest whole generation, after removing leftovers of interrupted writes.

        Raises `UserMistake` where there are state files and none can be read, or one is of an earlier version:
        starting over would discard the adapter, which only the owner may decide.
        """
        remove_unfinished(self._folder)
        return _found(
            self._folder,
            self._contents,
            lambda path, damaged: f"; {_keep_aside(path, damaged)}",
            mended=self._mend,
        )

    def _mend(self, listed: PublishedList, last: int) -> str:
        """Write the list anew, with `last` as its last round. Returns what was done, for a note."""
        kept = listed.rounds[-KEPT_ROUNDS:]
        if listed.last < last:
            kept = (*kept, (last, _UNKNOWN_DIGEST))
        try:
            write_published(_published(self._folder), kept)
            flush_folder(self._folder)
        except OSError as error:
            return f"; it could not be written anew ({error.strerror})"
        return "; it was written anew"

    @staticmethod
    def look(folder: Path) -> Found:
        """`load` for commands that only read: makes no folder, and no copies of damaged files."""
        return _found(folder, _contents(folder), lambda _, __: "", mended=lambda _, __: "")

    def save(self, saved: Saved) -> None:
        """Write a generation to the disk. Blocks. Raises `OSError`; the earlier generations are then unchanged."""
        slot = saved.generation % 2
        pieces, large = sealed(saved, _APART)
        try:
            self._contents[slot].write(large)
            write_sealed(_slots(self._folder)[slot], pieces)
            if saved.stage == "published":
                append_published(_published(self._folder), saved.round, digest_of(saved.frame))
            flush_folder(self._folder)
        except OSError as error:
            raise refused(error, [*pieces, *(one.data for one in large)], self._folder) from error
        self._contents[slot].keep_only(one.digest for one in large)

    def keep(self, inputs: MergeInputs) -> None:
        """Replace the inputs of the last merge. Blocks. Raises `OSError`; the earlier ones are then unchanged."""
        write_merge_inputs(self._folder, inputs, self._of_inputs)

    def go_on_after(self, round_: int) -> None:
        """Count this round, and all before it, as announced. Raises `OSError` and `UserMistake`."""
        path = _published(self._folder)
        if read_published(path).last < round_:
            append_published(path, round_, _UNKNOWN_DIGEST)
            flush_folder(self._folder)


def _found(
    folder: Path,
    contents: tuple[Contents, Contents],
    noticed: Callable[[Path, Path], str],
    *,
    mended: Callable[[PublishedList, int], str],
) -> Found:
    """`noticed` is called with each file that cannot be used, and the file in which the damage is; what it returns is
    added to the note on the first. So is what `mended` returns, which is called with a list of rounds that is damaged
    or long, and with its last round."""
    good: list[Saved] = []
    damages: list[str] = []
    for path, beside in zip(_slots(folder), contents, strict=True):
        try:
            good.append(_read(path, beside))
        except FileNotFoundError:
            continue
        except DamagedError as damage:
            damages.append(f"{path.name}: {damage}{noticed(path, damage.damaged or path)}")
        except OSError as error:
            damages.append(f"{path.name}: cannot be read ({error.strerror})")
    path = _published(folder)
    listed = read_published(path)
    last = listed.last
    if good:
        newest = max(good, key=lambda one: one.generation)
        notes = [f"{damage}; using generation {newest.generation}" for damage in damages]
        wrong = _wrong_with_list(listed, newest)
        if wrong:
            last = max(last, newest.round - (newest.stage == "training"))
            if _is_another(listed, newest):
                # Neither of the two is announced again, and which one the neighbours heard does not matter.
                last = max(last, newest.round + 1)
            if damages and (listed.end_damaged or not listed.damaged):
                last = max(last, newest.round + _UNKNOWN_ROUNDS)
            aside = noticed(path, path) if path.exists() else ""
            notes.append(f"{path.name}: {wrong}{aside}{mended(listed, last)}")
        elif len(listed.rounds) > 2 * KEPT_ROUNDS:
            mended(listed, last)
        return Found(recovered(newest, published_round=last), tuple(notes))
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
    first, second = STATE_FILES
    return folder / first, folder / second


def _contents(folder: Path) -> tuple[Contents, Contents]:
    first, second = STATE_FILES
    return Contents(folder, first), Contents(folder, second)


def _published(folder: Path) -> Path:
    """The list of published rounds."""
    return folder / "published"


def _wrong_with_list(listed: PublishedList, newest: Saved) -> str:
    """What is wrong with the list of published rounds, empty for nothing."""
    if listed.damaged:
        return f"{listed.damaged} of {counted(listed.damaged + len(listed.rounds), 'record')} damaged"
    if _is_another(listed, newest):
        return f"round {newest.round} was announced otherwise than the state has it, as that of another copy"
    # A crash between the two writes leaves a state whose round is not in the list yet.
    if listed.last < newest.round - 1:
        return f"it ends with round {listed.last}, and round {newest.round - 1} was announced"
    return ""


def _is_another(listed: PublishedList, newest: Saved) -> bool:
    """Whether the list ends with the round of this state, announced with other bytes. Where it goes on, so does the
    peer."""
    listed_digest = dict(listed.rounds).get(newest.round, _UNKNOWN_DIGEST)
    if newest.stage != "published" or listed.last != newest.round or listed_digest == _UNKNOWN_DIGEST:
        return False
    return listed_digest != digest_of(newest.frame)


def _keep_aside(path: Path, damaged: Path) -> str:
    """Copy what is damaged of a file, because its slot will be written again, and say where to."""
    try:
        aside = keep_aside(path, f"corrupt-{int(path.stat().st_mtime)}", damaged.read_bytes())
    except OSError as error:
        return f"no copy could be kept ({error.strerror})"
    return f"a copy is kept as {aside.name}"


def _read(path: Path, beside: Contents) -> Saved:
    try:
        saved: Saved = read_sealed(path, _MAGIC, Saved, apart=_APART, contents_beside=beside)
    except DamagedError:
        # A peer that runs may have replaced the file and removed contents between the two reads of a command.
        saved = read_sealed(path, _MAGIC, Saved, apart=_APART, contents_beside=beside)
    if saved.version < SAVED_VERSION:
        raise UserMistake(
            f"{path}: an earlier version of gossipllm wrote this state, for networks of an earlier protocol. Go on "
            f"with that version, or {_START_OVER}"
        )
    if saved.version != SAVED_VERSION:
        raise DamagedError(f"written by another version ({saved.version}, this one reads {SAVED_VERSION})")
    return saved
