"""Text streams whose failures never end the work: a closed terminal, a full disk, a pipe that nobody reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TextIO


class DroppingStream(io.TextIOBase):
    """Writes to `stream` while that works, and drops the text where it does not.

    `lost` is told of the first failure of each run of failures, never from within a write that it causes itself.
    None for a stream that was closed before the program began.
    """

    def __init__(self, stream: TextIO | None, *, lost: Callable[[str], object] | None = None) -> None:
        super().__init__()
        self._stream = stream
        self.encoding = "utf-8" if stream is None else stream.encoding
        self._lost = lost
        self._fails = False

    def write(self, text: str, /) -> int:
        stream = self._stream
        if stream is None:
            return len(text)
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError) as error:
            # ValueError: the file was closed.
            first, self._fails = not self._fails, True
            if first and self._lost is not None:
                self._lost(_reason(error))
        else:
            self._fails = False
        return len(text)

    def flush(self) -> None:
        """Nothing to do: every write is flushed."""

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Raises `OSError` where there is no descriptor, as streams in memory do."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it was closed"
