"""The root of the command line, as a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gossipllm.cli import root
from trust.errors import UserMistake


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


@pytest.mark.parametrize("module", ["gossipllm", "gossipllm.cli"])
def test_the_package_is_the_program(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert done.stdout.startswith("gossipllm, version ")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["init", "", "--data", "text"], "an argument"),
        (["trust", "show", "home", " "], "an argument"),
        (["export", "home", "--out", ""], "--out"),
        (["export", "home", "--out="], "--out"),
        (["vector", "apply", "home", "-o", ""], "-o"),
        (["sim", "-m", " "], "-m"),
        (["run", "home", "--set", ""], "--set"),
    ],
)
def test_an_empty_argument_is_never_a_path_or_a_value(arguments: list[str], what: str) -> None:
    with pytest.raises(UserMistake, match=f"^{what} is empty"):
        root.main(arguments, standalone_mode=False)


def test_a_setting_may_be_set_to_nothing() -> None:
    with pytest.raises(UserMistake, match="no such folder"):
        root.main(["run", "no-such-home", "--set", "adapter.warm_start="], standalone_mode=False)


@pytest.mark.parametrize(
    "arguments", [["sim", "--list"], ["config"], ["--help"]], ids=["rich", "echo", "click"]
)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gossipllm", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


def test_a_place_where_nothing_can_be_made_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(" ".join(f"number {n}" for n in range(2000)))
    command = [sys.executable, "-m", "gossipllm", "init", "/proc/x", "--data", str(tmp_path / "text.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("Error: /proc/x")
    assert done.stderr.count("\n") == 1


IN_A_FINALISER = """
import signal, time
import click
from gossipllm import cli

class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)

@click.command()
def command():
    Dying()
    time.sleep(20)

cli.root = command
cli.main()
"""


def test_ctrl_c_is_not_lost_where_it_falls_into_a_finaliser() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FINALISER], check=False, capture_output=True, text=True, timeout=15
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


AT_THE_END = """
import atexit, signal
import click
from gossipllm import cli

atexit.register(signal.raise_signal, signal.SIGINT)
cli.root = click.command()(lambda: None)
cli.main()
"""


def test_ctrl_c_when_all_is_done_says_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], check=False, capture_output=True, text=True, timeout=15
    )
    assert (done.returncode, done.stderr) == (0, "")
