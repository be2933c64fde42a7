"""Files that appear whole or not at all, and who may read them: the one place where this program writes files.

A file is replaced as a whole: the data goes to a temporary file in the same folder, which is then renamed over the
target. A crash or a full disk leaves the earlier file unchanged. What a killed process left is removed by the next
writer of the same file. Files that grow are opened for appending by `opened_private`, and whoever appends says how a
torn end is mended.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from trust.errors import UserMistake

DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""Errors of the disk itself, where it helps to know how much is free."""
_PASSING: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR}
)
KEPT_ASIDE: Final = 4
"""Copies of damaged bytes that are kept of a file. Guess: more would fill the disk of a machine that damages files."""
_UNFINISHED: Final = ".part"
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


def may_pass(error: OSError) -> bool:
    """Whether the error can go by itself, as that of a full disk or of too many open files. One of a broken or
    read-only disk, of missing rights or of a folder that is gone comes again."""
    return error.errno in _PASSING


def write_whole(
    path: Path, write: Callable[[BinaryIO], object], *, mode: int = 0o666, durable: bool = False
) -> None:
    """Replace `path` atomically by the bytes that `write` writes to its argument. The umask applies to `mode`, but
    takes no right from the owner where `mode` gives others none.

    With `durable`, the data is on the disk before the rename. For the new name to survive a loss of power, call
    `flush_folder` afterwards, once for several files. Raises `OSError` and any error of `write`; `path` is then
    unchanged.
    """
    _remove_leftovers(path)
    temporary = unfinished(path)
    try:
        # O_EXCL, so that a private key is never written to a file that another user created.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | int(getattr(os, "O_BINARY", 0))
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            if not mode & 0o077:
                _close_to_others(file.fileno(), mode)
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_output(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_whole` for a file that the user named: an `OSError` becomes a `UserMistake` that names the path."""
    try:
        write_whole(path, write)
    except OSError as error:
        raise UserMistake(unwritten(path, error)) from None


def unwritten(path: Path, error: OSError) -> str:
    """One line that says why `path` cannot be written, with the space that is free where the disk is the reason."""
    where = f" ({free_space(path)})" if error.errno in DISK_ERRORS else ""
    return f"{path} cannot be written: {error.strerror or error}{where}"


def keep_aside(path: Path, what: str, data: bytes) -> Path:
    """Keep damaged bytes of a private file beside it under the name PATH.WHAT, in place of those kept under that name
    before. `what` is a word and a number, as "torn-4096"; of one word, the newest `KEPT_ASIDE` stay. Raises `OSError`.
    """
    aside = path.with_name(f"{path.name}.{what}")
    write_whole(aside, lambda file: file.write(data), mode=_PRIVATE_FILE, durable=True)
    flush_folder(path.parent)
    of_its_kind = path.parent.glob(f"{glob.escape(path.name)}.{what.partition('-')[0]}-*")
    by_age = sorted(of_its_kind, key=lambda one: (one != aside, -one.stat().st_mtime_ns))
    for old in by_age[KEPT_ASIDE:]:
        old.unlink(missing_ok=True)
    return aside


def opened_private(path: Path, flags: int) -> int:
    """A descriptor of the file, made if there is none, that only its owner may open, whatever the umask. Raises
    `OSError`."""
    flags |= os.O_CREAT | int(getattr(os, "O_CLOEXEC", 0)) | int(getattr(os, "O_BINARY", 0))
    descriptor = os.open(path, flags, _PRIVATE_FILE)
    _close_to_others(descriptor, _PRIVATE_FILE)
    return descriptor


def make_private_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing, for their owner only, whatever the umask. Raises
    `OSError`."""
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_private_folder(folder.parent)
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    folder.chmod(_PRIVATE_FOLDER)
    # Without this, a loss of power could lose the folder with all that was flushed in it.
    flush_folder(folder.parent)


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


def unfinished(path: Path) -> Path:
    """Where this process writes what is to become `path`. With the process id, because two commands may write the
    same file at the same time."""
    return path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")


def leftovers(path: Path) -> Iterator[Path]:
    """What killed processes left of their writing of `path`, and this process if it was interrupted."""
    head = f".{path.name}."
    try:
        beside = list(path.parent.iterdir())
    except OSError:
        return
    for name in (one.name for one in beside):
        if name.startswith(head) and name.endswith(_UNFINISHED):
            process = name[len(head) :].removesuffix(_UNFINISHED)
            if process.isdecimal() and (int(process) == os.getpid() or not _lives(int(process))):
                yield path.with_name(name)


def remove_unfinished(folder: Path) -> None:
    """Delete temporary files that killed processes left in `folder`. The folder must have a single writer."""
    for temporary in folder.glob(f".*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    for temporary in leftovers(path):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _close_to_others(descriptor: int, mode: int) -> None:
    """Give the file exactly this mode. A file of another owner, or on a disk without rights, keeps what it has."""
    if os.name == "posix" and os.fstat(descriptor).st_mode & 0o777 != mode:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, mode)


def _lives(process: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
