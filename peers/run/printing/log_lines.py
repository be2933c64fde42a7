"""Log lines of a running peer on standard error: few, whatever happens, and never the end of the work.

A machine that is short of descriptors makes libraries log a traceback for each connection that they cannot accept. The
same message of the same logger is shown once a minute. An error of the system is one line, because its traceback says
only where in a library it was noticed; other exceptions keep theirs.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO, cast

from trust.streams import DroppingStream
from wire.bounded import BoundedDict

AGAIN_S: Final = 60.0
"""Seconds in which a message is not shown again."""
_REMEMBERED: Final = 256


class OnceAMinute(logging.Filter):
    """Drops a message that was let through less than `AGAIN_S` ago, whatever its arguments."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._shown: BoundedDict[tuple[str, str], float] = BoundedDict(_REMEMBERED)

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = (record.name, str(record.msg)), self._now()
        last = self._shown.get(key)
        if last is not None and now - last < AGAIN_S:
            return False
        self._shown.renew(key, now)
        return True


class OneLine(logging.Formatter):
    """The message, with the traceback of an exception that is no error of the system."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OSError):
            return super().format(record)
        line = f"{record.name}: {record.getMessage()}"
        why = error.strerror or str(error)
        return line if why in line else f"{line}: {why}"


def set_up_log_lines(stream: TextIO | None = None) -> None:
    """Show warnings of all loggers. Does nothing where the process has set up logging already."""
    handler = logging.StreamHandler(cast("TextIO", DroppingStream(stream or sys.stderr)))
    handler.addFilter(OnceAMinute())
    handler.setFormatter(OneLine("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
