"""`init`, `run` and `export` as a user meets them: real processes, exit codes, one line for each mistake."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gossipllm.base import corpus_file
from peers.cli import _last_row
from peers.home import Home
from trust.history import HISTORY_FILE, Begun, Entry, Note, Round, Seen, Traffic
from trust.log import HistoryWriter, read_history

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


# -- init -------------------------------------------------------------------------------------------


def test_a_home_is_private_and_its_settings_are_explained(home: Path) -> None:
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "identity.key").stat().st_mode) == 0o600
    settings = (home / "peer.toml").read_text()
    assert 'name = "anna"' in settings
    assert settings.count("# ") > 40


def test_init_does_not_touch_a_home_that_exists(home: Path) -> None:
    key = (home / "identity.key").read_bytes()

    line = the_only_line(gossipllm("init", home, "--data", corpus_file("de")))

    assert "is a peer's home already" in line
    assert (home / "identity.key").read_bytes() == key


def test_a_data_path_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    line = the_only_line(gossipllm("init", tmp_path / "home", "--data", tmp_path / "empty"))

    assert "empty holds no .txt" in line
    assert not (tmp_path / "home").exists()


def test_a_malformed_multiaddress_is_named(home: Path) -> None:
    line = the_only_line(gossipllm("run", home, "--join", "/ip4/999.1.1.1/tcp/4001"))

    assert "/ip4/999.1.1.1/tcp/4001" in line


# -- run --------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_home_is_named(tmp_path: Path) -> None:
    assert "gossipllm init" in the_only_line(gossipllm("run", tmp_path / "nowhere"))


def test_an_unknown_key_comes_with_a_suggestion(home: Path) -> None:
    settings = (home / "peer.toml").read_text().replace("learning_rate =", "learning_rat =")
    (home / "peer.toml").write_text(settings)

    line = the_only_line(gossipllm("run", home))

    assert "learning_rat: unknown key, did you mean learning_rate?" in line


def test_a_model_folder_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    done = gossipllm(
        "init",
        tmp_path / "home",
        "--data",
        corpus_file("fr"),
        "--model",
        tmp_path / "model",
        "--listen",
        LISTEN,
    )
    assert done.returncode == 0, done.stderr

    line = the_only_line(gossipllm("run", tmp_path / "home"))

    assert str(tmp_path / "model") in line
    assert "safetensors" in line


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = (home / "peer.toml").read_text().replace(LISTEN, f"/ip4/127.0.0.1/tcp/{port}")
        (home / "peer.toml").write_text(settings)

        line = the_only_line(gossipllm("run", home))

    assert f"port {port}" in line


def test_a_home_in_use_names_the_process_that_has_it(home: Path, run: Any) -> None:
    first = run(home)
    first.until(lambda event: event["event"] == "listening")

    line = the_only_line(gossipllm("run", home))

    assert f"pid {first.process.pid}" in line


def test_a_peer_alone_trains_and_stops_cleanly(home: Path, run: Any) -> None:
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


def test_a_peer_killed_in_mid_round_goes_on_where_it_was(home: Path, run: Any) -> None:
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


def test_a_dead_learner_is_replaced_while_the_network_stays(home: Path, run: Any) -> None:
    peer = run(home)
    listening = peer.until(lambda event: event["event"] == "listening")
    peer.until(is_round(0))
    os.kill(psutil.Process(peer.process.pid).children()[0].pid, signal.SIGKILL)

    note = peer.until(lambda event: event["event"] == "note" and "the learner stopped" in event["text"])
    peer.until(is_round(2))

    assert "exit code -9" in note["text"]
    assert peer.process.poll() is None
    assert [event for event in peer.events if event["event"] == "listening"] == [listening]


def test_a_neighbour_that_comes_back_is_taken_up_again(home: Path, run: Any, tmp_path: Path) -> None:
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


def test_a_corrupt_state_falls_back_and_says_so(home: Path, run: Any) -> None:
    peer = run(home)
    peer.until(is_round(1))
    peer.stop()
    newest = max((home / "state").glob("state.[01]"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-100])

    again = run(home)
    again.until(is_round(2))
    again.stop()

    notes = [
        e.record.text for e in read_history(home / "history.msgpack").entries if isinstance(e.record, Note)
    ]
    assert any("checksum mismatch" in text and "using generation" in text for text in notes)


def test_two_corrupt_generations_are_never_replaced_by_nothing(home: Path, run: Any) -> None:
    peer = run(home)
    peer.until(is_round(1))
    peer.stop()
    for path in (home / "state").glob("state.[01]"):
        path.write_bytes(b"GLSTATE1" + bytes(100))

    line = the_only_line(gossipllm("run", home))

    assert "no generation of the state can be read" in line
    assert list((home / "state").glob("*.corrupt-*"))


# -- export -----------------------------------------------------------------------------------------


def test_the_export_loads_with_peft_and_gives_the_same_loss(home: Path, run: Any, tmp_path: Path) -> None:
    peer = run(home, "--rounds", "2")
    peer.until(lambda event: event["event"] == "note")
    peer.stop()
    expected = next(event["test_merged"] for event in reversed(peer.events) if event["event"] == "round")

    done = gossipllm("export", home, "-o", tmp_path / "adapter")

    assert done.returncode == 0, done.stderr
    # Over a bfloat16 base peft computes the adapter in float32, we in bfloat16.
    assert _test_loss(home, tmp_path / "adapter") == pytest.approx(expected, abs=2e-3)
    assert "anna" in (tmp_path / "adapter" / "README.md").read_text()


def test_what_peft_has_no_form_for_is_exported_as_a_whole_model(home: Path, run: Any, tmp_path: Path) -> None:
    settings = (home / "peer.toml").read_text()
    (home / "peer.toml").write_text(settings.replace('train = "both"', 'train = "full"'))
    peer = run(home, "--rounds", "1")
    peer.until(lambda event: event["event"] == "note")
    peer.stop()
    expected = next(event["test_merged"] for event in reversed(peer.events) if event["event"] == "round")

    assert "--merged" in the_only_line(gossipllm("export", home, "-o", tmp_path / "adapter"))
    done = gossipllm("export", home, "--merged", "-o", tmp_path / "model")

    assert (done.returncode, done.stderr) == (0, "")
    # The export is in float32, the peer computes in bfloat16 where that is fast.
    assert _test_loss(home, model=tmp_path / "model") == pytest.approx(expected, abs=2e-3)
    assert "anna" in (tmp_path / "model" / "README.md").read_text()


def test_where_mass_is_pushed_the_card_names_those_who_were_there_and_no_row(tmp_path: Path) -> None:
    seen = Seen(peer="12D3", name="bruno", its_round=0, age=0, distance=0, error=0, weight=0, tokens=1)
    record = Round(
        peer="12D2",
        round=0,
        self_weight=1,
        seen=(seen,),
        train_loss=1,
        trust_alone=1,
        trust_merged=1,
        test_alone=1,
        test_merged=1,
        temperature=None,
        tried=(),
        guard="taken",
        tokens=1,
        samples=1,
        steps=1,
        train_s=1,
        gather_s=1,
        merge_s=1,
        discarded=0,
        absorbed=1,
    )
    with HistoryWriter(tmp_path / HISTORY_FILE, peer="12D2", now=0) as writer:
        writer.append(Entry(at_s=0, traffic=Traffic(sent={}, received={}), record=record))

    assert _last_row(Home(tmp_path)) == (("bruno",), {})


def test_exporting_before_the_first_round_says_what_to_do(home: Path, tmp_path: Path) -> None:
    line = the_only_line(gossipllm("export", home, "-o", tmp_path / "adapter"))

    assert "gossipllm run" in line


def _test_loss(home: Path, adapter: Path | None = None, *, model: Path | None = None) -> float:
    """Of an adapter on the home's base, or of a whole model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from gossipllm.model.models import load_base
    from gossipllm.text.data import load_splits
    from peers.config import load_config

    config = load_config(home / "peer.toml")
    base = load_base(config.model)
    splits = load_splits(config.data, base.tokenizer, context=256, seed=config.training.seed)
    if adapter is not None:
        learned = PeftModel.from_pretrained(base.model, adapter)
    else:
        learned = AutoModelForCausalLM.from_pretrained(model)
    tokens = torch.tensor(splits.test_WT[: config.data.test_windows], dtype=torch.int64)
    with torch.inference_mode():
        logits = learned(input_ids=tokens).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()


def test_a_history_tells_what_a_peer_began_with(home: Path, run: Any) -> None:
    peer = run(home)
    peer.until(is_round(0))
    peer.stop()

    begun = next(
        e.record for e in read_history(home / "history.msgpack").entries if isinstance(e.record, Begun)
    )
    assert begun.name == "anna"
    assert begun.strategy == "predictions"
