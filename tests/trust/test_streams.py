"""Streams that fail drop what is written to them, and say so."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from trust.streams import DroppingStream, flushed


class Failing(io.StringIO):
    """Fails while `error` is set."""

    error: Exception | None = None

    def write(self, text: str, /) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"), ValueError("closed")],
)
def test_what_cannot_be_written_is_dropped_and_what_can_is_written_again(error: Exception) -> None:
    stream = Failing()
    dropping = DroppingStream(stream)
    dropping.write("one\n")
    stream.error = error
    dropping.write("two\n")
    failure = dropping.failure
    stream.error = None
    dropping.write("three\n")

    assert stream.getvalue() == "one\nthree\n"
    assert failure
    assert dropping.failure == ""


def test_a_full_device_fails_every_time_and_keeps_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        dropping = DroppingStream(full)
        for _ in range(3):
            dropping.write("a line\n")
            assert dropping.failure == "No space left on device"


def test_a_stream_that_was_closed_before_the_program_began_takes_everything() -> None:
    dropping = DroppingStream(None)

    assert dropping.write("a line\n") == 7
    assert not dropping.isatty()


def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    end, begin = os.pipe()
    with os.fdopen(begin, "w", encoding="ascii") as narrow, os.fdopen(end, "rb", buffering=0) as read:
        DroppingStream(narrow).write("ż\n")
        assert read.read(100) == b"\\u017c\n"


def test_flushing_says_why_it_failed_once_and_nothing_of_a_reader_that_has_gone() -> None:
    with Path("/dev/full").open("w") as full:
        full.write("a line\n")
        assert flushed(full) == "No space left on device"
        assert flushed(full) is None, "it leads nowhere from now on"
    end, begin = os.pipe()
    os.close(end)
    with os.fdopen(begin, "w") as pipe:
        pipe.write("a line\n")
        assert flushed(pipe) == ""
    assert flushed(None) is None
