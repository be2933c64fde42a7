"""Sealed files: a message and its contents under a checksum, which shows whether the file is whole.

    magic of 8 bytes | SHA-256 of the rest | u32 header length | header | contents

in the framing of `gossipllm.pipe`. A file is replaced only by a complete one (`trust.files`). The caller flushes the
folder, so that the new name survives a loss of power too.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Final

from gossipllm.pipe import PREFIX, PipeError, Receiver, Sender
from trust.files import free_space, write_whole
from wire.digest import digest_of

_DIGEST_AT: Final = 8
_BODY_AT: Final = _DIGEST_AT + 32


class DamagedError(Exception):
    """A sealed file does not hold what was written to it."""


def sealed(message: object, magic: bytes) -> list[bytes]:
    """The pieces of a sealed file that holds `message`."""
    pieces = Sender[object]().frame(message)
    return [magic, digest_of(*pieces), *pieces]


def write_sealed(path: Path, pieces: list[bytes]) -> None:
    """Replace the file, readable by its owner only. Raises `OSError`, and then the earlier file is unchanged."""
    write_whole(path, lambda file: file.writelines(pieces), mode=0o600, durable=True)


def read_sealed(path: Path, magic: bytes, kind: type[Any]) -> Any:
    """The message of type `kind` in a sealed file. Raises `DamagedError`, and `OSError` where the disk fails."""
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
    """`error` with the folder in its text, and the space that is free and that `pieces` need."""
    need = sum(map(len, pieces)) / 1e6
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = f"the disk is full: need {need:.1f} MB"
    return OSError(error.errno, f"{why}, {free_space(folder)} at {folder}")
