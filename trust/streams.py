"""Text streams whose failures never end the work: a closed terminal, a full disk, a pipe that nobody reads."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TextIO


class DroppingStream:
    """Writes to `stream` while that works, and drops the text where it does not. `failure` says why the last write
    failed, empty where it did not. The stream is None where it was closed before the program began.

    A file is written without Python's buffer, which would keep what failed and try it again.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failure = ""
        self.encoding = "utf-8" if stream is None else stream.encoding

    def write(self, text: str, /) -> int:
        if self._stream is not None:
            try:
                self._write(self._stream, text)
            except (OSError, ValueError) as error:
                # ValueError: the file was closed.
                self.failure = _reason(error)
            else:
                self.failure = ""
        return len(text)

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            descriptor = stream.fileno()
        except (OSError, AttributeError):
            stream.write(text)
            stream.flush()
            return
        left = memoryview(text.encode(self.encoding, errors="backslashreplace"))
        while left:
            left = left[os.write(descriptor, left) :]

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


def flushed(stream: TextIO | None) -> str | None:
    """Write out what is buffered. None where that works; else why not, empty where the reader has gone, which is no
    error of anybody's. A stream that fails leads nowhere from then on, so that Python does not try again as it ends.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return "" if isinstance(error, BrokenPipeError) else _reason(error)
    return None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it was closed"
