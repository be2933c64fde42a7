"""Folders whose files belong together: another program finds all of them, or none that it could take for a whole.

The files are written into a folder beside the wanted one, under the name of an unfinished file (`trust.files`), and
then moved. One of them, without which no program reads the folder, is taken away first and comes back last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from trust.errors import UserMistake
from trust.files import leftovers, unfinished, unwritten


@contextlib.contextmanager
def written_folder(out: Path, *, key: str) -> Generator[Path]:
    """An empty folder to write into, whose files are in `out` when the block has ended. Files of other names in `out`
    stay. `key` names the file without which the folder is not read.

    Raises `UserMistake` where something cannot be written; `out` is then as before, or without its `key`.
    """
    temporary = unfinished(out.absolute())
    for old in leftovers(temporary.with_name(out.absolute().name)):
        shutil.rmtree(old, ignore_errors=True)
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _move(temporary, out, key)
    except OSError as error:
        raise UserMistake(unwritten(out, error)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(source: Path, out: Path, key: str) -> None:
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for path in files:
        _flush(path)
    out.mkdir(exist_ok=True)
    (out / key).unlink(missing_ok=True)
    for path in sorted(files, key=lambda one: one == source / key):
        to = out / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.replace(to)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
