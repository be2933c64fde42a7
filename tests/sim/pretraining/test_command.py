"""Tests of `gossipllm sim pretrain`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sim.cli import sim
from sim.pretraining.arms import ARMS
from trust.errors import UserMistake


def said(*arguments: str) -> str:
    result = CliRunner().invoke(sim, ["pretrain", *arguments], catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0
    return result.output


def test_every_arm_is_listed_with_what_it_is() -> None:
    assert [line.split()[0] for line in said("--list").splitlines()] == list(ARMS)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--arms", "al"], "unknown 'al'; known are alone, all"),
        (["--steps", "100"], "steps must be a multiple of round_steps"),
        (["--peers", "1"], "peers must be in 2..64, got 1"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(
    arguments: list[str], why: str, tmp_path: Path
) -> None:
    with pytest.raises(UserMistake, match=why):
        said(*arguments, "-o", str(tmp_path / "out"))

    assert not (tmp_path / "out").exists()


@pytest.mark.battery
def test_two_peers_pre_train_and_what_was_measured_is_not_repeated(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gossipllm.cli", "sim", "pretrain", "--json", "--jobs", "1"]
    command += ["--peers", "2", "--steps", "32", "--arms", "all,alone", "-o", str(tmp_path)]

    first = subprocess.run(command, capture_output=True, text=True, check=True)
    again = subprocess.run(command, capture_output=True, text=True, check=True)

    rows = {row["name"]: row for row in json.loads(first.stdout)}
    assert again.stdout == first.stdout
    assert "done" in first.stderr
    assert "done" not in again.stderr
    assert rows["all"]["loss"] < rows["alone"]["loss"] < 6.9, "less than knowing nothing of 1,024 tokens"
    assert rows["one, small batches"]["loss"] < rows["all"]["loss"]
    assert rows["all"]["fewer"] > 10
