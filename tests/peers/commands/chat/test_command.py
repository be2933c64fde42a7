"""`gossipllm chat` as a user meets it: one answer, a pipe, JSON, mistakes in one line."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.export import export_adapter
from peers.commands.chat.command import chat
from peers.home.folder import Home
from trust.errors import UserMistake

SMALL = (
    "--max-new-tokens",
    "6",
    "--temperature",
    "0",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--dtype",
    "float32",
)


@pytest.fixture
def snapshot(learned: Callable[..., bytes]) -> bytes:
    return learned(AdapterConfig(rank=2, alpha=4.0))


@pytest.fixture
def home(new_home: Callable[..., Home], snapshot: bytes) -> Path:
    return new_home(snapshot).folder


def run(*words: object) -> None:
    chat.main([*map(str, words), *SMALL], prog_name="chat", standalone_mode=False)


def test_one_answer_goes_to_standard_output_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    run("embedded", "--prompt", "The system")

    captured = capsys.readouterr()
    assert captured.out.strip()
    assert captured.out.endswith("\n")
    assert "\x1b" not in captured.out


def test_a_home_an_export_of_it_and_the_base_are_compared_in_json(
    home: Path, snapshot: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_adapter(snapshot, tmp_path / "exported")
    before = sorted(home.rglob("*"))

    run(home, "--both", "--prompt", "The system", "--json")
    run("embedded", "--adapter", tmp_path / "exported", "--prompt", "The system", "--json")
    run(home, "--no-adapter", "--prompt", "The system", "--json")

    both, exported, bare = map(json.loads, capsys.readouterr().out.splitlines())
    base, own = both["answers"]
    assert both["schema"] == 1
    assert (base["by"], own["by"]) == ("base", "adapter")
    assert base["text"] != own["text"]
    assert exported["answers"][0]["text"] == own["text"]
    assert bare["answers"][0]["text"] == base["text"]
    assert (both["adapter"], bare["adapter"]) == (str(home), None)
    assert sorted(home.rglob("*")) == before


def test_a_running_peer_is_not_in_the_way(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Home(home).locked():
        run(home, "--prompt", "The system")

    assert capsys.readouterr().out.strip()


def test_each_line_of_a_pipe_is_a_prompt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("The system\n\nA package\n"))

    run("embedded", "--json")

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["prompt"] for one in found] == ["The system", "A package"]
    assert found[0]["chat"]


def test_bytes_that_are_no_text_are_answered_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for errors in ("strict", "surrogateescape"):
        pipe = io.TextIOWrapper(io.BytesIO(b"The \xff system\n"), "utf-8", errors)
        monkeypatch.setattr(sys, "stdin", pipe)
        run("embedded", "--json")
    run("embedded", "--json", "--prompt", os.fsdecode(b"The \xff system"))

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["prompt"] for one in found] == ["The \ufffd system", "The \ufffd system", "The ? system"]
    assert all(one["answers"][0]["text"] for one in found)


def test_a_damaged_state_is_passed_over_and_no_copy_is_made(
    new_home: Callable[..., Home], snapshot: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    home = new_home(snapshot)
    (home.state / "state.0").write_bytes(b"damaged")
    before = sorted(home.folder.rglob("*"))

    run(home.folder, "--prompt", "The system")

    captured = capsys.readouterr()
    assert captured.out.strip()
    assert "state.0: not a state file; using generation 1" in captured.err
    assert sorted(home.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("embedded", "--both", "--prompt", "x"), "is only a base"),
        (("embedded", "--no-adapter", "--both", "--prompt", "x"), "--no-adapter does not go with --both"),
        (("./nowhere", "--prompt", "x"), "there is no folder ./nowhere"),
        ((" ", "--prompt", "x"), "MODEL_OR_HOME: name must be"),
        (("embedded", "--adapter", "{empty}", "--prompt", "x"), "neither a peer's home nor an adapter"),
        (("{fresh}", "--prompt", "x"), "--no-adapter"),
        (("embedded", "--prompt", "x", "--max-new-tokens", "256"), "the model takes 256 tokens"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: tuple[str, ...], says: str, new_home: Callable[..., Home], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "fresh": new_home(None).folder}

    with pytest.raises(UserMistake) as caught:
        chat.main([word.format(**places) for word in words], prog_name="chat", standalone_mode=False)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_loads_no_torch() -> None:
    code = "import sys; from gossipllm.cli import root; root.main(sys.argv[1:], standalone_mode=False)"
    code += "; assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "chat", "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout


def test_on_a_terminal_ctrl_c_at_the_prompt_leaves_with_130() -> None:
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "gossipllm.cli", "chat", "embedded", *SMALL]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = _read_until(mine, b"> ")
    os.write(mine, b"The system\n")
    seen += _read_until(mine, b"\n> ")

    try:
        assert _interrupted(process) == 130
        assert b"Traceback" not in seen
    finally:
        process.kill()
        os.close(mine)


def _interrupted(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Python notices a signal between writing its prompt and waiting only with the next one.

    The wait is long, because a second signal to a process that is already ending kills it.
    """
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def _read_until(descriptor: int, mark: bytes, *, within_s: float = 60.0) -> bytes:
    began, data = time.monotonic(), b""
    while mark not in data:
        assert time.monotonic() - began < within_s, data
        data += os.read(descriptor, 4096)
    return data
