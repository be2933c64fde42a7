"""Large contents beside the sealed files that name them, each in a file of its own that is written once.

A content of at least `OUTSIDE_BYTES` is in `content.OWNER.DIGEST` in the same folder, where the owner is the sealed
file that names it: a content that stays from one generation of a slot to the next is not written again. Slots share no
files, so that a damaged one costs a single generation; merge inputs, which may be lost, are hard links where a slot has
the same content.

A content is on the disk under its name before the file that names it is written, and is removed after a file that does
not name it any more is on the disk. A content counts as there only if this process wrote it or found it whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from trust.files import flush_folder, write_whole
from wire.digest import Content, digest_of

OUTSIDE_BYTES: Final = 4096
"""Guess: a page; a smaller content takes a page as a file of its own, and a flush."""
STATE_FILES: Final = ("state.0", "state.1")
"""The sealed files of the two slots (`store.py`)."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class Contents:
    """The large contents of the sealed file `owner` in a folder. `others` are owners whose files may be linked to."""

    def __init__(self, folder: Path, owner: str, others: Sequence[str] = ()) -> None:
        self._folder = folder
        self._head = f"content.{owner}."
        self._others = [f"content.{other}." for other in others]
        self._whole: set[bytes] = set()

    def path(self, digest: bytes) -> Path:
        return self._folder / (self._head + digest.hex())

    def read(self, digest: bytes) -> bytes | None:
        """None where it is missing or damaged. Raises `OSError` where the disk fails."""
        self._whole.discard(digest)
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        if digest_of(data) != digest:
            return None
        self._whole.add(digest)
        return data

    def write(self, contents: Iterable[Content]) -> None:
        """Put these on the disk, names and all, where they are not. Raises `OSError`."""
        missing = [one for one in contents if one.digest not in self._whole]
        for one in missing:
            if not self._linked(one):
                _write(self.path(one.digest), one.data)
        if missing:
            flush_folder(self._folder)
            self._whole.update(one.digest for one in missing)

    def keep_only(self, digests: Iterable[bytes]) -> None:
        """Remove all others, and what interrupted writes left. What cannot be removed is tried again next time."""
        kept = set(digests)
        self._whole &= kept
        names = {self.path(digest).name for digest in kept}
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                if path.name.lstrip(".").startswith(self._head) and path.name not in names:
                    path.unlink(missing_ok=True)

    def _linked(self, content: Content) -> bool:
        """Whether the content is now a link to a file of another owner."""
        path = self.path(content.digest)
        for head in self._others:
            source = self._folder / (head + content.digest.hex())
            if not source.exists():
                continue
            try:
                path.unlink(missing_ok=True)
                os.link(source, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                continue
            return True
        return False


def _write(path: Path, data: bytes) -> None:
    write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)
