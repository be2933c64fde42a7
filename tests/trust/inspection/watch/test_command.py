"""The command `gossipllm trust watch`, at a terminal and in a script."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from support.records import make_home, round_of
from trust.cli import trust

WATCH = (sys.executable, "-m", "gossipllm.cli", "trust", "watch")


@contextlib.contextmanager
def watching(command: list[str], **options: Any) -> Generator[subprocess.Popen[Any]]:
    """A process that is killed when the test fails: `Popen` alone waits for its end, which may never come."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def complaint(*arguments: object) -> str:
    result = CliRunner().invoke(trust, ["watch", *map(str, arguments)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_without_a_terminal_the_message_names_alternatives(tmp_path: Path) -> None:
    make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    assert "gossipllm trust show" in complaint(tmp_path)


def test_a_path_without_any_history_is_a_user_mistake(tmp_path: Path) -> None:
    assert "no history" in complaint(tmp_path, "--json")
    assert "does not exist" in complaint(tmp_path / "nowhere", "--json")


def test_lines_are_printed_until_ctrl_c_which_exits_with_130(tmp_path: Path) -> None:
    make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    command = [*WATCH, str(tmp_path), "--json", "--every", "0.1"]
    with watching(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["rows"][0]["peer"] == "id-a"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read().strip() == ""


@pytest.mark.skipif(not hasattr(select, "poll"), reason="without poll, only the next line would tell")
def test_the_command_ends_when_its_pipe_is_closed(tmp_path: Path) -> None:
    make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    command = [*WATCH, str(tmp_path), "--json", "--every", "60"]
    with watching(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def drawn_by(terminal: int, until: bytes) -> bytes:
    """Output up to the bytes `until` or its end. Fails after 60 s of silence: a busy machine may need them to start."""
    drawn = b""
    # When the other side of a pseudo-terminal is closed, Linux raises an error instead of returning no bytes.
    with contextlib.suppress(OSError):
        while not until or until not in drawn:
            assert select.select([terminal], [], [], 60)[0], drawn
            more = os.read(terminal, 1 << 16)
            if not more:
                break
            drawn += more
    return drawn


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)])
def test_a_terminal_shows_the_matrix_until_a_key_quits(tmp_path: Path, key: bytes, code: int) -> None:
    import pty

    make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {"id-b": 0.25}))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "80", "LINES": "24"}
    with watching(
        [*WATCH, str(tmp_path)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        try:
            drawn = drawn_by(ours, b"*75")
            assert b"*75" in drawn
            os.write(ours, key)
            drawn += drawn_by(ours, b"")
            assert process.wait(20) == code
        finally:
            process.kill()
    os.close(ours)
    assert b"\x1b[38;2" not in drawn, "a colour, in spite of NO_COLOR"


def test_json_lines_import_no_heavy_library(tmp_path: Path) -> None:
    make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    script = (
        "import sys; from pathlib import Path; from trust.inspection.watch import command, lines;"
        f"print(lines.WatchLines(command.Following([Path({str(tmp_path)!r})])).next());"
        "assert not {'torch', 'textual', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema"] == 1
