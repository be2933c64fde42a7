"""A machine that is short of something fills no screen with log lines."""

from __future__ import annotations

import errno
import io
import logging
import os

from peers.run.printing.log_lines import OnceAMinute, OneLine


def record(message: str = "accept returned %s", *, error: Exception | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("trio.serve_listeners", logging.ERROR, "", 0, message, ("EMFILE",), info)


def test_the_same_message_is_shown_once_a_minute() -> None:
    now = 0.0
    once = OnceAMinute(lambda: now)
    shown: list[float] = []
    for tenth in range(1300):
        now = tenth / 10
        if once.filter(record()):
            shown.append(now)

    assert shown == [0.0, 60.0, 120.0]
    assert once.filter(record("another %s"))


def test_an_error_of_the_system_is_one_line_and_any_other_keeps_its_traceback() -> None:
    short = OneLine("%(name)s: %(message)s")
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert short.format(record(error=full)) == (
        "trio.serve_listeners: accept returned EMFILE: Too many open files"
    )
    assert "ZeroDivisionError" in short.format(record(error=ZeroDivisionError("division by zero")))


def test_a_handler_with_both_writes_one_line_for_a_thousand_failures() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(OnceAMinute(lambda: 0.0))
    handler.setFormatter(OneLine("%(name)s: %(message)s"))
    for _ in range(1000):
        failed = record(error=OSError(errno.EMFILE, "Too many open files"))
        if handler.filter(failed):
            handler.emit(failed)

    assert stream.getvalue().count("\n") == 1
