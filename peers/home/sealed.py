"""A message in a file, with the contents that it names: whole, or known not to be.

    magic of 8 bytes | SHA-256 of the rest | u32 header length | header | contents

in the framing of `gossipllm.pipe`. A new one takes the place of the old one only when it is complete: written to a
temporary file beside it, flushed to the disk, renamed. Flushing the folder, so that the new name survives a loss
of power too, is the caller's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any, Final

from gossipllm.pipe import PREFIX, PipeError, Receiver, Sender
from wire.digest import digest_of

_DIGEST_AT: Final = 8
_BODY_AT: Final = _DIGEST_AT + 32


class DamagedError(Exception):
    """The file is not what was written."""


def sealed(message: object, magic: bytes) -> list[bytes]:
    """The pieces of the file."""
    pieces = Sender[object]().frame(message)
    return [magic, digest_of(*pieces), *pieces]


def write_sealed(path: Path, pieces: list[bytes]) -> None:
    """For its owner's eyes only. Raises `OSError` and leaves what was there as it was."""
    fresh = path.with_suffix(".new")
    try:
        _write(fresh, pieces)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def read_sealed(path: Path, magic: bytes, kind: type[Any]) -> Any:
    """A message of `kind`. Raises `DamagedError`, and `OSError` as the disk does."""
    data = path.read_bytes()
    if len(data) < _BODY_AT + PREFIX.size or data[:_DIGEST_AT] != magic:
        raise DamagedError("not a state file" if data else "empty")
    body = memoryview(data)[_BODY_AT:]
    if digest_of(body) != data[_DIGEST_AT:_BODY_AT]:
        raise DamagedError("checksum mismatch")
    receiver = Receiver[Any](kind)
    try:
        at = PREFIX.size + receiver.header_bytes(bytes(body[: PREFIX.size]))
        header = receiver.header(bytes(body[PREFIX.size : at]))
        contents: list[bytes] = []
        for _, size in header.contents:
            contents.append(bytes(body[at : at + size]))
            at += size
        return receiver.message(header, contents)
    except PipeError as error:
        raise DamagedError(str(error)) from None


def refused(error: OSError, pieces: list[bytes], folder: Path) -> OSError:
    """The same in words for people: where the disk is full, how much room these need."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        need, free = sum(map(len, pieces)) / 1e6, shutil.disk_usage(folder).free / 1e6
        why = f"the disk is full: need {need:.1f} MB, {free:.1f} MB free"
    return OSError(error.errno, f"{why} at {folder}")


def flush_folder(folder: Path) -> None:
    """So that what was renamed in it survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, pieces: list[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
