"""Atomic writes: a file is replaced as a whole or not at all.

The data goes to a temporary file in the same folder, which is then renamed over the target. A crash or a full disk
leaves the earlier file unchanged.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from trust.errors import UserMistake

DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""Errors of the disk itself, where it helps to know how much is free."""
_UNFINISHED: Final = ".part"


def write_whole(
    path: Path, write: Callable[[BinaryIO], object], *, mode: int = 0o666, durable: bool = False
) -> None:
    """Replace `path` atomically by the bytes that `write` writes to its argument. The umask applies to `mode`.

    With `durable`, the data is on the disk before the rename. For the new name to survive a loss of power, call
    `flush_folder` afterwards, once for several files. Raises `OSError` and any error of `write`; `path` is then
    unchanged.
    """
    # The process id, because two commands may write the same file at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    temporary.unlink(missing_ok=True)
    try:
        # O_EXCL, so that a private key is never written to a file that another user created.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | int(getattr(os, "O_BINARY", 0))
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_output(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_whole` for a file that the user named: an `OSError` becomes a `UserMistake` that names the path."""
    try:
        write_whole(path, write)
    except OSError as error:
        where = f" ({free_space(path)})" if error.errno in DISK_ERRORS else ""
        raise UserMistake(f"{path} cannot be written: {error.strerror or error}{where}") from None


def free_space(at: Path) -> str:
    """How much is free on the disk of a file or folder, for error messages."""
    try:
        return f"{shutil.disk_usage(at if at.is_dir() else at.parent).free / 1e6:,.1f} MB free"
    except OSError:
        return "free space unknown"


def flush_folder(folder: Path) -> None:
    """Make renames in `folder` survive a loss of power. Does nothing on Windows, which has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Delete temporary files that killed processes left in `folder`. The folder must have a single writer."""
    for temporary in folder.glob(f".*{_UNFINISHED}"):
        temporary.unlink(missing_ok=True)
