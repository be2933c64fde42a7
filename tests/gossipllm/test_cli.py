"""The root of the command line, as a program."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [["sim", "--list"], ["--help"]], ids=["rich", "click"])
def test_a_reader_that_has_seen_enough_is_not_complained_of(arguments: list[str]) -> None:
    """The two libraries that print each see to it."""
    command = [sys.executable, "-m", "gossipllm.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.wait(60)
        assert process.stderr.read() == ""
