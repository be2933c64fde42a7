"""The file that holds what the learner's process prints, and why a process ended, as far as the file says.

The file is rotated: a log that has grown beyond `MAX_LOG_BYTES` is kept once under another name, by a rename when the
next process starts, and by a copy while a process that writes much is alive. Where the log cannot be written, what is
printed is lost, and training goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gossipllm.work import EXHAUSTED
from trust.files import opened_private, write_whole
from trust.names import escaped

MAX_LOG_BYTES: Final = 2**20
"""Length at which the log is put aside, as learner.log.1, in place of the one before. Guess: a hundred tracebacks."""
_TAIL_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a process ended. `crash`: by an exception of its own, which would come again."""

    why: str
    crash: bool


def open_log(path: Path) -> tuple[int, int]:
    """A descriptor for what a new process prints, and the length of the file so far."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    try:
        descriptor = opened_private(path, os.O_WRONLY | os.O_APPEND)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 0
    return descriptor, os.fstat(descriptor).st_size


def bound_log(path: Path) -> None:
    """Put the end of a log aside that has grown to twice `MAX_LOG_BYTES` while a process writes to it."""
    with contextlib.suppress(OSError):
        if path.stat().st_size < 2 * MAX_LOG_BYTES:
            return
        with path.open("rb") as file:
            file.seek(-MAX_LOG_BYTES, os.SEEK_END)
            end = file.read(MAX_LOG_BYTES)
        write_whole(path.with_name(f"{path.name}.1"), lambda file: file.write(end), mode=0o600)
        # The process appends, so it goes on at the new end. What it wrote since the copy is lost.
        os.truncate(path, 0)


def ended(path: Path, code: int, *, since: int) -> Ended:
    """Why a process ended with this exit code, from the last line that it printed after the first `since` bytes."""
    if code < 0:
        return Ended(f"killed by {_signal_name(-code)}, see {path.name}", crash=False)
    line = _last_line(path, since)
    crash = code not in (0, EXHAUSTED)
    return Ended(f"{line or f'exit code {code}'}, see {path.name}", crash=crash)


def _last_line(path: Path, since: int) -> str:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # A log that was put aside meanwhile begins anew.
            file.seek(max(since if since <= end else 0, end - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return escaped(lines[-1], 300) if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
