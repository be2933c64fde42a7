"""`init` as a user meets it: what a home holds, and one line for each mistake."""

from __future__ import annotations

import os
import re
import shlex
import socket
import stat
from itertools import pairwise
from pathlib import Path

import pytest

from gossipllm.base import corpus_file
from peers.home.config import load_config
from support.processes import gossipllm, the_only_line


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

    assert "empty holds no text" in line
    assert not (tmp_path / "home").exists()


def test_a_new_file_holds_the_common_settings_each_with_its_reason(tmp_path: Path) -> None:
    done = gossipllm("init", tmp_path / "home", "--data", corpus_file("fr"))

    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "home" / "peer.toml").read_text().splitlines()
    assert len(lines) < 80
    assert not [line for above, line in pairwise(lines) if " = " in line and not above.startswith("# ")]


def test_a_name_that_nobody_gave_is_two_words_and_not_that_of_the_device(tmp_path: Path) -> None:
    done = gossipllm("init", tmp_path / "home", "--data", corpus_file("fr"))

    name = load_config(tmp_path / "home" / "peer.toml").peer.name
    assert done.stdout.startswith(f"{tmp_path / 'home'}: home of peer 12D3KooW")
    assert f"({name})" in done.stdout
    assert re.fullmatch("[a-z]+-[a-z]+", name)
    assert name != socket.gethostname()


def test_a_damaged_model_is_refused_before_there_is_a_home(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "model" / name).write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")

    line = the_only_line(
        gossipllm("init", tmp_path / "home", "--data", corpus_file("fr"), "--model", tmp_path / "model")
    )

    assert "model.safetensors is a git-lfs pointer" in line
    assert not (tmp_path / "home").exists()


def test_settings_are_closed_to_others(home: Path) -> None:
    assert stat.S_IMODE((home / "peer.toml").stat().st_mode) == 0o600


def test_init_says_what_the_peer_will_train_on_and_what_is_left_out(tmp_path: Path) -> None:
    notes = tmp_path / "my notes"
    notes.mkdir()
    (notes / "a.TXT").write_text(corpus_file("fr").read_text(encoding="utf-8"))
    (notes / "._a.TXT").write_bytes(b"\x00\x05\x16\x07")

    done = gossipllm("init", tmp_path / "my home", "--data", notes)

    assert done.returncode == 0, done.stderr
    assert "text: 1 file, 310 documents, " in done.stdout
    assert "left out: 1 hidden file" in done.stdout
    assert "windows of 128 tokens: " in done.stdout
    # A shell takes the line as it stands.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("next: "))
    assert shlex.split(line.removeprefix("next: ")) == ["gossipllm", "run", str(tmp_path / "my home")]


@pytest.mark.parametrize("data", ["", " ", b"caf\xe9.txt"])
def test_a_path_that_no_settings_can_hold_is_refused(tmp_path: Path, data: str | bytes) -> None:
    path = os.fsdecode(tmp_path / os.fsdecode(data)) if isinstance(data, bytes) else data
    if isinstance(data, bytes):
        Path(path).write_text(corpus_file("fr").read_text(encoding="utf-8"))

    line = the_only_line(gossipllm("init", tmp_path / "home", "--data", path))

    assert "is empty" in line or "is not UTF-8" in line
    assert not (tmp_path / "home").exists()


def test_init_says_what_is_adapted_what_it_takes_and_that_peft_takes_the_export(tmp_path: Path) -> None:
    done = gossipllm(
        "init", tmp_path / "home", "--data", corpus_file("fr"), "--rank", "4", "--held", "int4", "--set",
        "adapter.scaling=rslora", "--set", "training.batch_tokens=1024",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    for says in (
        "base: embedded, comes with this program",
        "held in int4",
        "at rank 4",
        "needs (estimates): memory about ",
        "export: peft takes it",
    ):
        assert says in done.stdout
    config = load_config(tmp_path / "home" / "peer.toml")
    assert (config.adapter.rank, config.adapter.scaling, config.model.held) == (4, "rslora", "int4")
    assert config.training.batch_tokens == 1024


def test_init_says_once_that_peft_has_no_form_for_the_export(tmp_path: Path) -> None:
    done = gossipllm("init", tmp_path / "home", "--data", corpus_file("fr"), "--set", "adapter.train=full")

    assert done.returncode == 0, done.stderr
    assert "warning: export: " in done.stderr
    assert "export: " not in done.stdout


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data.window_tokens=1025", "data.window_tokens is 1025, but the model takes at most"),
        ("adapter.scaling=root", 'adapter.scaling: must be one of "standard", "rslora"'),
        ("adapter.warm_start=/nowhere", "adapter.warm_start: /nowhere holds no adapter_config.json"),
    ],
)
def test_what_cannot_work_is_refused_before_there_is_a_home(tmp_path: Path, setting: str, says: str) -> None:
    done = gossipllm("init", tmp_path / "home", "--data", corpus_file("fr"), "--set", setting)

    assert done.returncode == 2
    assert says in the_only_line(done)
    assert not (tmp_path / "home").exists()
