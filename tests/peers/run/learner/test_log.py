"""What the log of a learner says about its end, and that the log does not grow for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gossipllm.work import EXHAUSTED
from peers.run.learner.log import MAX_LOG_BYTES, bound_log, ended, open_log


def test_an_exception_of_its_own_is_a_crash_told_by_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "learner.log"
    log.write_text("an older end\nTraceback (most recent call last):\n  ...\nKeyError: 'q_proj'\n\n")

    found = ended(log, 1, since=13)

    assert (found.why, found.crash) == ("KeyError: 'q_proj', see learner.log", True)


def test_lines_of_an_earlier_process_are_no_reason(tmp_path: Path) -> None:
    log = tmp_path / "learner.log"
    log.write_text("KeyError: 'q_proj'\n")

    assert ended(log, 3, since=log.stat().st_size).why == "exit code 3, see learner.log"


@pytest.mark.parametrize("code", [-9, -11, -6, -60, 0, EXHAUSTED])
def test_a_signal_a_lost_pipe_and_a_lack_of_memory_are_no_crash(tmp_path: Path, code: int) -> None:
    assert not ended(tmp_path / "learner.log", code, since=0).crash


@pytest.mark.parametrize("code", [1, 2, 120, 127, 134])
def test_any_other_exit_code_is_a_crash(tmp_path: Path, code: int) -> None:
    assert ended(tmp_path / "learner.log", code, since=0).crash


def test_what_a_learner_prints_is_escaped(tmp_path: Path) -> None:
    log = tmp_path / "learner.log"
    log.write_text("\x1b[31mred\n")

    assert "\x1b" not in ended(log, 1, since=0).why


def test_a_long_log_is_put_aside_once_when_the_next_process_starts(tmp_path: Path) -> None:
    log = tmp_path / "learner.log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))

    descriptor, begins = open_log(log)
    os.close(descriptor)

    assert begins == 0
    assert log.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "learner.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_a_log_that_grows_while_a_learner_lives_is_put_aside_and_the_learner_writes_on(
    tmp_path: Path,
) -> None:
    log = tmp_path / "learner.log"
    descriptor, begins = open_log(log)
    os.write(descriptor, b"x" * (2 * MAX_LOG_BYTES - 4))
    bound_log(log)
    assert log.stat().st_size == 2 * MAX_LOG_BYTES - 4, "not long enough"

    os.write(descriptor, b"end\n")
    bound_log(log)
    os.write(descriptor, b"KeyError: 'q_proj'\n")
    os.close(descriptor)

    assert log.read_bytes() == b"KeyError: 'q_proj'\n"
    kept = tmp_path / "learner.log.1"
    assert (kept.stat().st_size, kept.stat().st_mode & 0o777) == (MAX_LOG_BYTES, 0o600)
    assert kept.read_bytes().endswith(b"xend\n")
    assert ended(log, 1, since=begins).why.startswith("KeyError")


def test_the_reason_is_found_in_a_log_that_became_shorter(tmp_path: Path) -> None:
    log = tmp_path / "learner.log"
    log.write_text("KeyError: 'q_proj'\n")
    assert ended(log, 1, since=5_000).why == "KeyError: 'q_proj', see learner.log"
