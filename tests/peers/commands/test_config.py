"""`gossipllm config`: what is set, what it means, and what a whole file would look like."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gossipllm.config import AdapterConfig
from gossipllm.config.toml import from_mapping
from gossipllm.device.plan.choice import AUTOMATIC, Chosen
from peers.commands.config import config
from peers.home.automatic import KeptChoice, keep_choice
from peers.home.config import PeerConfig, load_automatic
from peers.home.editing import change_settings
from peers.home.folder import Home
from peers.home.settings import COMMON, REPRODUCTION, write_config
from peers.identity import Identity

CHANGED = replace(PeerConfig(), adapter=AdapterConfig(rank=4))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = Home(tmp_path / "home")
    Identity.generate().save(place.identity)
    write_config(place.config, CHANGED)
    return place.folder


def call(*words: object) -> Result:
    return CliRunner().invoke(config, list(map(str, words)))


def test_settings_that_differ_are_marked(home: Path) -> None:
    lines = call(home).stdout.splitlines()

    assert [line for line in lines if line.startswith("*")] == ["* adapter.rank = 4  (default 8)"]
    assert "  adapter.alpha = 16.0" in lines


def test_settings_for_reproduction_are_listed_only_where_they_are_used(home: Path) -> None:
    assert "trust.form" not in call(home).stdout

    with (home / "peer.toml").open("a") as file:
        file.write('\n[reference]\npositions = "last"\n')
    text = (home / "peer.toml").read_text()
    (home / "peer.toml").write_text(
        text.replace('strategy = "predictions"', 'strategy = "predictions"\nform = "paper-code"')
    )

    assert '* trust.form = "paper-code"  (default "ours")' in call(home).stdout.splitlines()


def test_all_prints_a_file_that_reads_back(home: Path) -> None:
    text = call(home, "--all").stdout

    assert from_mapping(PeerConfig, tomllib.loads(text), "") == CHANGED
    assert text.count("(For the reproduction of published results only.)") == len(REPRODUCTION)


def test_a_key_is_explained_with_its_value_and_what_it_takes(home: Path) -> None:
    text = call(home, "adapter.rank").stdout

    assert text.startswith("adapter.rank = 4  (default 8)\n")
    assert "Rank of this peer's LoRA factors" in text
    assert "Takes a whole number." in text


def test_a_table_is_explained_setting_by_setting() -> None:
    blocks = call("merge").stdout.split("\n\n")

    assert [block.split(" ")[0] for block in blocks] == [
        *("merge.rule", "merge.clip", "merge.mixing"),
        *("merge.outer", "merge.outer_momentum", "merge.outer_rate"),
        *("merge.also", "merge.distil_share"),
    ]


@pytest.mark.parametrize(
    ("word", "hint"), [("steps", "round.steps?"), ("trust.stratgy", "trust.strategy?"), ("q", "list them")]
)
def test_an_unknown_key_comes_with_a_suggestion(word: str, hint: str) -> None:
    done = call(word)

    assert done.exit_code == 2
    assert hint in done.stderr


def test_a_folder_that_is_no_home_is_named(tmp_path: Path) -> None:
    assert "has no peer.toml" in call(tmp_path).stderr
    assert "no such folder" in call(tmp_path / "nowhere").stderr


@pytest.mark.parametrize("key", [*COMMON, *sorted(REPRODUCTION)])
def test_each_listed_setting_exists(key: str) -> None:
    assert call(key).stdout.startswith(f"{key} = ")


def test_what_this_device_chose_is_shown_with_its_reason(home: Path) -> None:
    place = Home(home)
    change_settings(place.config, dict.fromkeys(AUTOMATIC, "auto"))
    assert "* round.steps = 20  (auto, not chosen yet; default 20)" in call(home).stdout.splitlines()

    chosen = Chosen(settings={"round.steps": 33, "training.warmup_steps": 40}, why="a pass takes 3 ms")
    kind = load_automatic(place.config)[1].kind
    keep_choice(place.choice, KeptChoice(kind=kind, chosen=chosen))

    lines = call(home).stdout.splitlines()
    assert "* round.steps = 33  (auto, chosen for this device; default 20)" in lines
    assert "* training.warmup_steps = 40  (auto, chosen for this device; default 10)" in lines
    assert "* training.batch_windows = 8  (auto, the default; default 8)" in lines
    assert "Chosen by: a pass takes 3 ms." in call(home, "round.steps").stdout
    whole = tomllib.loads(call(home, "--all").stdout)
    assert (whole["round"]["steps"], whole["training"]["warmup_steps"]) == ("auto", 40)
