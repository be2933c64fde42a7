"""`run` as a user meets it: real processes that are killed and go on, exit codes, one line for each mistake."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gossipllm.base import corpus_file
from support.processes import (
    LISTEN,
    PeerProcess,
    command_line,
    gossipllm,
    is_round,
    make_home,
    sees,
    the_only_line,
)
from trust.record.history import Begun, Note, Record, Round
from trust.record.log import read_history


def test_a_folder_that_is_no_home_is_named(tmp_path: Path) -> None:
    assert "gossipllm init" in the_only_line(gossipllm("run", tmp_path / "nowhere"))


def test_a_malformed_multiaddress_is_named(home: Path) -> None:
    line = the_only_line(gossipllm("run", home, "--join", "/ip4/999.1.1.1/tcp/4001"))

    assert "/ip4/999.1.1.1/tcp/4001" in line


def test_an_unknown_key_comes_with_a_suggestion(home: Path) -> None:
    settings = (home / "peer.toml").read_text().replace("learning_rate =", "learning_rat =")
    (home / "peer.toml").write_text(settings)

    line = the_only_line(gossipllm("run", home))

    assert "learning_rat: unknown key, did you mean learning_rate?" in line


def test_a_model_folder_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    line = the_only_line(
        gossipllm("init", tmp_path / "home", "--data", corpus_file("fr"), "--model", tmp_path / "model")
    )

    assert str(tmp_path / "model") in line
    assert "safetensors" in line


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = (home / "peer.toml").read_text().replace(LISTEN, f"/ip4/127.0.0.1/tcp/{port}")
        (home / "peer.toml").write_text(settings)

        line = the_only_line(gossipllm("run", home))

    assert f"port {port}" in line


def test_a_home_in_use_names_the_process_that_has_it(home: Path, run: Callable[..., PeerProcess]) -> None:
    first = run(home)
    first.until(lambda event: event["event"] == "listening")

    line = the_only_line(gossipllm("run", home))

    assert f"pid {first.process.pid}" in line


def test_a_peer_alone_trains_and_stops_cleanly(home: Path, run: Callable[..., PeerProcess]) -> None:
    peer = run(home)
    peer.until(is_round(1))
    learner = psutil.Process(peer.process.pid).children()[0]

    peer.process.send_signal(signal.SIGINT)

    assert peer.process.wait(20) == 0
    assert not learner.is_running() or learner.status() == psutil.STATUS_ZOMBIE
    rounds = [
        entry.record
        for entry in read_history(home / "history.msgpack").entries
        if isinstance(entry.record, Round)
    ]
    assert [one.guard for one in rounds][:2] == ["alone", "alone"]


def test_a_peer_killed_in_mid_round_goes_on_where_it_was(home: Path, run: Callable[..., PeerProcess]) -> None:
    first = run(home)
    last = first.until(is_round(1))
    first.until(lambda event: event["event"] == "progress" and event["phase"] == "training")
    learner = psutil.Process(first.process.pid).children()[0]
    first.process.kill()
    first.process.wait(20)

    second = run(home)
    begun = second.until(lambda event: event["event"] == "begun")
    second.until(is_round(last["round"] + 1))

    assert begun["round"] > last["round"] - 1
    psutil.wait_procs([learner], timeout=20)
    assert not learner.is_running() or learner.status() == psutil.STATUS_ZOMBIE
    entries = read_history(home / "history.msgpack").entries
    numbers = [entry.record.round for entry in entries if isinstance(entry.record, Round)]
    assert numbers == sorted(numbers)


def test_a_dead_learner_is_replaced_while_the_network_stays(
    home: Path, run: Callable[..., PeerProcess]
) -> None:
    peer = run(home)
    listening = peer.until(lambda event: event["event"] == "listening")
    peer.until(is_round(0))
    os.kill(psutil.Process(peer.process.pid).children()[0].pid, signal.SIGKILL)

    note = peer.until(lambda event: event["event"] == "note" and "the learner stopped" in event["text"])
    peer.until(is_round(2))

    assert "killed by SIGKILL" in note["text"]
    assert peer.process.poll() is None
    assert [event for event in peer.events if event["event"] == "listening"] == [listening]


@pytest.mark.battery
def test_a_neighbour_that_comes_back_is_taken_up_again(
    home: Path, run: Callable[..., PeerProcess], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"/ip4/127.0.0.1/tcp/{free.getsockname()[1]}"
    settings = (home / "peer.toml").read_text().replace(LISTEN, listen)
    (home / "peer.toml").write_text(settings)
    anna = run(home)
    address = anna.until(lambda event: event["event"] == "listening")["addresses"][0]
    bruno = run(make_home(tmp_path / "other", name="bruno"), "--join", address)
    anna.until(sees("bruno"))
    bruno.until(sees("anna"))

    anna.process.kill()
    anna.process.wait(20)
    bruno.until(lambda event: event["event"] == "status" and event["neighbours"] == 0)
    alone = bruno.until(lambda event: event["event"] == "round" and not event["seen"])
    again = run(home)

    again.until(sees("bruno"))
    assert bruno.until(sees("anna"))["round"] > alone["round"]


def test_a_corrupt_state_falls_back_and_says_so(trained_home: Path, run: Callable[..., PeerProcess]) -> None:
    newest = max((trained_home / "state").glob("state.[01]"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-100])

    again = run(trained_home)
    again.until(is_round(2))
    again.stop()

    notes = [
        e.record.text
        for e in read_history(trained_home / "history.msgpack").entries
        if isinstance(e.record, Note)
    ]
    assert any("checksum mismatch" in text and "using generation" in text for text in notes)


def test_two_corrupt_generations_are_never_replaced_by_nothing(trained_home: Path) -> None:
    for path in (trained_home / "state").glob("state.[01]"):
        path.write_bytes(b"GLSTATE1" + bytes(100))

    line = the_only_line(gossipllm("run", trained_home))

    assert "no generation of the state can be read" in line
    assert list((trained_home / "state").glob("*.corrupt-*"))


def test_a_history_tells_what_a_peer_began_with(trained_home: Path) -> None:

    begun = next(
        e.record
        for e in read_history(trained_home / "history.msgpack").entries
        if isinstance(e.record, Begun)
    )
    assert begun.name == "anna"
    assert begun.strategy == "predictions"


def test_output_that_cannot_be_written_does_not_end_the_peer_and_is_noted_once(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = command_line("run", home, "--rounds", "2", "--stop-with-stdin")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=full, stderr=full)
        try:
            while len(rounds := [one for one in _records(home) if isinstance(one, Round)]) < 2:
                assert process.poll() is None, "the peer ended"
                time.sleep(0.1)
            process.send_signal(signal.SIGHUP)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait(20)

    assert len(rounds) == 2
    notes = [one.text for one in _records(home) if isinstance(one, Note)]
    assert (
        notes.count("the output cannot be written (No space left on device); the peer goes on without it")
        == 1
    )


def _records(home: Path) -> list[Record]:
    path = home / "history.msgpack"
    return [entry.record for entry in read_history(path).entries] if path.exists() else []


def test_a_peer_that_is_to_end_ends_when_its_rounds_are_done(home: Path) -> None:
    done = gossipllm("run", home, "--until-round", "2", "--set", "peer.name=bruno", "--set", "round.steps=1")

    assert (done.returncode, done.stderr) == (0, "")
    assert "bruno begins at round 0" in done.stdout
    assert "all 2 rounds are done" in done.stdout
    assert len([one for one in _records(home) if isinstance(one, Round)]) == 2
    restored = gossipllm("run", home, "--after-round", "5", "--until-round", "7")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "begins at round 6" in restored.stdout


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("round.step=1", "round.step: unknown key, did you mean steps?"),
        ("steps=1", "steps is no setting: it must be TABLE.NAME"),
        ("round.steps=many", "round.steps"),
        ("round.steps", "--set takes KEY=VALUE"),
    ],
)
def test_a_change_that_is_no_setting_is_named(home: Path, change: str, why: str) -> None:
    assert why in the_only_line(gossipllm("run", home, "--set", change))
