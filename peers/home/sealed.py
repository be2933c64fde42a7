"""Sealed files: a message and its contents under a checksum, which shows whether the file is whole.

    magic of 8 bytes | SHA-256 of the rest | u32 header length | header | contents

in the framing of `gossipllm.pipe`. Large contents are in files of their own (`contents.py`). A file is replaced only by
a complete one (`trust.files`). The caller flushes the folder, so that the new name survives a loss of power too.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Final

from gossipllm.pipe import PREFIX, PipeError, Receiver, Sender
from peers.home.contents import OUTSIDE_BYTES, Contents
from trust.files import free_space, write_whole
from wire.digest import Content, digest_of

_DIGEST_AT: Final = 8
_BODY_AT: Final = _DIGEST_AT + 32


class DamagedError(Exception):
    """A sealed file, or the file of a content that it names, does not hold what was written to it. `damaged` is that
    file's path, where it is not the sealed file's."""

    def __init__(self, what: str, damaged: Path | None = None) -> None:
        super().__init__(what)
        self.damaged = damaged


def sealed(message: object, magic: bytes) -> tuple[list[bytes], list[Content]]:
    """The pieces of a sealed file that holds `message` and its small contents, and the large ones."""
    prefix, header, *data = Sender[object]().frame(message)
    listed = Receiver[Any].header(header).contents
    contents = [Content(digest, one) for (digest, _), one in zip(listed, data, strict=True)]
    pieces = [prefix, header, *(one.data for one in contents if one.size < OUTSIDE_BYTES)]
    return [magic, digest_of(*pieces), *pieces], [one for one in contents if one.size >= OUTSIDE_BYTES]


def write_sealed(path: Path, pieces: list[bytes]) -> None:
    """Replace the file, readable by its owner only. Raises `OSError`, and then the earlier file is unchanged."""
    write_whole(path, lambda file: file.writelines(pieces), mode=0o600, durable=True)


def read_sealed(
    path: Path, magic: bytes, kind: type[Any], *, apart: bytes = b"", contents_beside: Contents | None = None
) -> Any:
    """The message of type `kind` in a sealed file. Where its magic is `apart`, large contents are in `contents_beside`.
    Raises `DamagedError`, and `OSError` where the disk fails."""
    data = path.read_bytes()
    outside = contents_beside if apart and data[:_DIGEST_AT] == apart else None
    if len(data) < _BODY_AT + PREFIX.size or (data[:_DIGEST_AT] != magic and outside is None):
        raise DamagedError("not a state file" if data else "empty")
    body = memoryview(data)[_BODY_AT:]
    if digest_of(body) != data[_DIGEST_AT:_BODY_AT]:
        raise DamagedError("checksum mismatch")
    receiver = Receiver[Any](kind)
    try:
        at = PREFIX.size + receiver.header_bytes(bytes(body[: PREFIX.size]))
        header = receiver.header(bytes(body[PREFIX.size : at]))
        contents: list[bytes] = []
        for digest, size in header.contents:
            if outside is not None and size >= OUTSIDE_BYTES:
                contents.append(_beside(outside, digest))
                continue
            contents.append(bytes(body[at : at + size]))
            at += size
        return receiver.message(header, contents)
    except PipeError as error:
        raise DamagedError(str(error)) from None


def _beside(contents: Contents, digest: bytes) -> bytes:
    data = contents.read(digest)
    if data is None:
        path = contents.path(digest)
        if not path.exists():
            raise DamagedError(f"{path.name} is missing")
        raise DamagedError(f"{path.name}: checksum mismatch", path)
    return data


def refused(error: OSError, pieces: list[bytes], folder: Path) -> OSError:
    """`error` with the folder in its text, and the space that is free and that `pieces` need."""
    need = sum(map(len, pieces)) / 1e6
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = f"the disk is full: need {need:.1f} MB"
    return OSError(error.errno, f"{why}, {free_space(folder)} at {folder}")
