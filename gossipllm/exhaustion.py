"""Tells a lack of resources, which may pass, from an error that would come again. Loads no torch."""

from __future__ import annotations

import errno
from typing import Final

_PASSING: Final = frozenset(
    {errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR}
)


def is_exhaustion(error: BaseException) -> bool:
    """Whether memory, a disk or the number of open files is exhausted.

    Torch's `OutOfMemoryError` is a RuntimeError; on a processor, torch reports exhausted memory as a bare one.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
    )
