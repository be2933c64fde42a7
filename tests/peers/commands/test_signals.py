"""SIGTERM and SIGINT end every command soon, without a traceback, and leave nothing that stops the next one."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gossipllm.base import corpus_file
from peers.home.config import load_config
from peers.home.store import StateStore
from peers.identity import Identity
from support.processes import PeerProcess, command_line, gossipllm, is_round

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def learner_of(peer: PeerProcess) -> psutil.Process:
    return psutil.Process(peer.process.pid).children()[0]


def loading(peer: PeerProcess) -> None:
    peer.until(lambda event: event["event"] == "listening")


def hung(peer: PeerProcess) -> None:
    """The learner neither answers nor dies."""
    peer.until(is_round(0))
    learner_of(peer).send_signal(signal.SIGSTOP)


def waiting_for_another_start(peer: PeerProcess) -> None:
    peer.until(is_round(0))
    learner_of(peer).kill()
    peer.until(lambda event: event["event"] == "note" and "the learner stopped" in event["text"])


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.battery)],
    ids=lambda number: number.name,
)
@pytest.mark.parametrize("moment", [loading, hung, waiting_for_another_start])
def test_a_peer_ends_within_seconds_whatever_its_learner_does(
    home: Path,
    run: Callable[..., PeerProcess],
    moment: Callable[[PeerProcess], None],
    number: signal.Signals,
) -> None:
    peer = run(home)
    moment(peer)
    children = psutil.Process(peer.process.pid).children()
    began = time.monotonic()

    peer.process.send_signal(number)

    assert peer.process.wait(20) == 0
    assert time.monotonic() - began < 5.0
    assert peer.process.stderr is not None
    assert "Traceback" not in peer.process.stderr.read()
    psutil.wait_procs(children, timeout=5)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert StateStore(home / "state").load().notes == ()


@pytest.mark.battery
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_interrupted_init_is_finished_by_the_next_with_the_same_identity(
    tmp_path: Path, number: signal.Signals
) -> None:
    """At moments all over the command; `tests/peers/home/test_interrupted_saves.py` meets each operation."""
    home = tmp_path / "home"
    arguments = ("init", home, "--data", corpus_file("fr"))
    for wait_s in (0.3, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0):
        process = subprocess.Popen(
            command_line(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        time.sleep(wait_s)  # the moment is what is tried
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
        assert "Traceback" not in told
        assert process.returncode in (0, 2, 130, -number)
        key = Identity.load(home / "identity.key").peer_id if (home / "identity.key").exists() else None
        if process.returncode == 0:
            break
    done = gossipllm(*arguments)
    assert done.returncode == 0 or "is a peer's home already" in done.stderr
    assert key in (None, Identity.load(home / "identity.key").peer_id)
    assert load_config(home / "peer.toml").peer.name
    assert not list(home.glob(".*.part"))


@pytest.mark.battery
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["export", "chat", "trust show", "eval"])
def test_a_command_that_is_interrupted_says_nothing_and_leaves_nothing(
    trained_home: Path, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    arguments: dict[str, tuple[str | Path, ...]] = {
        "export": ("export", trained_home, "-o", out, "--merged"),
        "chat": ("chat", trained_home),
        "trust show": ("trust", "show", trained_home),
        "eval": ("eval", trained_home, "--data", corpus_file("fr")),
    }
    for wait_s in (0.5, 2.0, 5.0):
        process = subprocess.Popen(
            command_line(*arguments[command]),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(wait_s)  # the moment is what is tried
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
        assert "Traceback" not in told
        assert process.returncode in (0, 2, 130, -number)
    if command == "export":
        again = gossipllm(*arguments[command], "--force")
        assert again.returncode == 0, again.stderr
        assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()
