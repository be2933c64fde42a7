"""`gossipllm` commands as processes of their own: run to their end, or read line by line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossipllm.base import corpus_file

LISTEN = "/ip4/127.0.0.1/tcp/0"
QUICK = {
    'steps = "auto"': "steps = 2",
    "patience_s = 20.0": "patience_s = 1.0",
    'batch_windows = "auto"': "batch_windows = 2",
    'learning_rate = "auto"': "learning_rate = 2e-3",
    "window_tokens = 128": "window_tokens = 32",
    "test_windows = 32": "test_windows = 4",
    "trust_windows = 16": "trust_windows = 4",
    "threads = 0": "threads = 1",
}
"""Changes of `peer.toml` that make a round of the embedded model take a fraction of a second."""

PeerEvent = dict[str, Any]
"""A line of `run --json`."""


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "gossipllm.cli", *map(str, arguments)]


def gossipllm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command_line(*arguments), capture_output=True, text=True, timeout=120, check=False)


class PeerProcess:
    """A peer in a process of its own, read line by line."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command_line("run", home, "--json", "--stop-with-stdin", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[PeerEvent] = []

    def until(self, wanted: Callable[[PeerEvent], bool]) -> PeerEvent:
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

    def kill(self) -> None:
        """End the process at once and close its pipes."""
        self.process.kill()
        with self.process:
            pass


def make_home(folder: Path, *, name: str = "anna", text: str = "fr") -> Path:
    """The home of a new peer whose rounds are quick."""
    done = gossipllm("init", folder, "--all", "--data", corpus_file(text), "--listen", LISTEN, "--name", name)
    assert done.returncode == 0, done.stderr
    settings = (folder / "peer.toml").read_text()
    for before, after in QUICK.items():
        assert before in settings, before
        settings = settings.replace(before, after)
    (folder / "peer.toml").write_text(settings)
    return folder


def copy_of(home: Path, folder: Path) -> Path:
    """The same peer's home in another folder, times and rights of its files included."""
    return Path(shutil.copytree(home, folder))


def is_round(number: int) -> Callable[[PeerEvent], bool]:
    return lambda event: event["event"] == "round" and event["round"] >= number


def all_done(event: PeerEvent) -> bool:
    """Whether a peer says that its last round is done."""
    return event["event"] == "note" and "done; what was learned" in event["text"]


def sees(name: str) -> Callable[[PeerEvent], bool]:
    """A round in which this neighbour's present state was weighed."""
    return lambda event: (
        event["event"] == "round" and any(one["name"] == name and one["age"] == 0 for one in event["seen"])
    )


def takes_from(name: str) -> Callable[[PeerEvent], bool]:
    """A round in which this neighbour has weight in the merge."""
    return lambda event: (
        event["event"] == "round" and any(one["name"] == name and one["weight"] > 0 for one in event["seen"])
    )


def the_only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The line that a user's mistake printed: exit code 2, one line, no traceback."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]
