"""A shell completes commands, options and values, and waits for no import of the commands that it lists."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gossipllm.cli import root
from gossipllm.commands.completion import COMPLETE_VARIABLE, SHELLS

PROGRAM = [sys.executable, "-X", "importtime", "-c", "from gossipllm.cli import main; main()"]


def completed(*words: str) -> tuple[list[str], str]:
    """What bash is offered for these words, the last of which is incomplete; and the modules that were imported."""
    line = {
        COMPLETE_VARIABLE: "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        PROGRAM, env=os.environ | line, capture_output=True, text=True, timeout=60, check=False
    )
    return [one.partition(",")[2] for one in done.stdout.split()], done.stderr


def test_commands_are_completed_without_importing_them() -> None:
    offered, imported = completed("gossipllm", "d")
    assert offered == ["demo", "data", "doctor"]
    assert "peers.commands" not in imported


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("gossipllm", "trust", "sh"), ["show"]),
        (("gossipllm", "export", "--mer"), ["--merged"]),
        (("gossipllm", "completion", "f"), ["fish"]),
        (("gossipllm", "--ver"), ["--version"]),
    ],
    ids=" ".join,
)
def test_subcommands_options_and_values_are_completed(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words)[0] == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_the_shell_reads(shell: str) -> None:
    done = CliRunner().invoke(root, ["completion", shell], prog_name="gossipllm")
    assert done.exit_code == 0
    assert COMPLETE_VARIABLE in done.stdout
    assert "gossipllm" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True, timeout=20)


def test_another_shell_is_refused_with_those_that_there_are() -> None:
    done = CliRunner().invoke(root, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in done.output
