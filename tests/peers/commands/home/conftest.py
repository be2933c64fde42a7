"""Commands as processes of their own: run to their end, or read line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gossipllm.base import corpus_file

LISTEN = "/ip4/127.0.0.1/tcp/0"
SMALL = {
    "steps = 20": "steps = 2",
    "patience_s = 20.0": "patience_s = 1.0",
    "batch_windows = 8": "batch_windows = 2",
    "window_tokens = 128": "window_tokens = 32",
    "test_windows = 32": "test_windows = 4",
    "trust_windows = 16": "trust_windows = 4",
    "threads = 0": "threads = 1",
}
"""Changes that make a round of the embedded model take a fraction of a second."""


def gossipllm(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gossipllm.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


class Running:
    """A peer in a process of its own, read line by line."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "gossipllm.cli",
            "run",
            str(home),
            "--json",
            "--stop-with-stdin",
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.events: list[dict[str, Any]] = []

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read on to the first event that is wanted. The suite's own time limit bounds the wait."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if wanted(event):
                return event
        error = self.process.stderr.read() if self.process.stderr else ""
        raise AssertionError(f"the peer ended with {self.process.wait()}: {error}")

    def stop(self) -> int:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        return self.process.wait(20)


def make_home(folder: Path, *, name: str = "anna", text: str = "fr") -> Path:
    done = gossipllm("init", folder, "--data", corpus_file(text), "--listen", LISTEN, "--name", name)
    assert done.returncode == 0, done.stderr
    settings = (folder / "peer.toml").read_text()
    for before, after in SMALL.items():
        assert before in settings, before
        settings = settings.replace(before, after)
    (folder / "peer.toml").write_text(settings)
    return folder


def is_round(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "round" and event["round"] >= number


def sees(name: str) -> Callable[[dict[str, Any]], bool]:
    """A round in which this neighbour's present state was weighed."""
    return lambda event: (
        event["event"] == "round" and any(one["name"] == name and one["age"] == 0 for one in event["seen"])
    )


def the_only_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a mistake printed: exit code 2, one line, no traceback."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(home: Path, *arguments: str) -> Running:
        started.append(Running(home, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        with one.process:
            """Its pipes are closed."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose rounds are quick."""
    return make_home(tmp_path / "home")


class Shell:
    """What a test of the commands needs, in one fixture: files under `tests/` cannot import each other."""

    LISTEN = LISTEN
    gossipllm = staticmethod(gossipllm)
    make_home = staticmethod(make_home)
    is_round = staticmethod(is_round)
    sees = staticmethod(sees)
    the_only_line = staticmethod(the_only_line)


@pytest.fixture
def shell() -> type[Shell]:
    return Shell
