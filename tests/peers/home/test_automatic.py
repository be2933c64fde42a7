"""Settings that say "auto": read with what was chosen, until the device or the text is of another class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gossipllm.config import DataConfig, ModelConfig, TrainingConfig
from gossipllm.device.plan.choice import AUTOMATIC, BATCH, RATE, STEPS, WARMUP, Chosen
from peers.core.config import RoundConfig
from peers.home.automatic import KeptChoice, keep_choice
from peers.home.config import PeerConfig, load_automatic, load_config
from peers.home.editing import change_settings
from peers.home.folder import Home
from peers.home.making import make_home
from trust.errors import UserMistake

CHOSEN = Chosen(settings={BATCH: 2, RATE: 6e-3, STEPS: 33, WARMUP: 40}, why="a test")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("once upon a time " * 100)
    return file


@pytest.fixture
def home(tmp_path: Path, text: Path) -> Home:
    made = Home(tmp_path / "home")
    make_home(made, PeerConfig(data=DataConfig(path=str(text))), automatic=AUTOMATIC)
    return made


def choose(home: Home) -> None:
    _, automatic = load_automatic(home.config)
    keep_choice(home.choice, KeptChoice(kind=automatic.kind, chosen=CHOSEN))


def test_until_there_is_a_choice_settings_have_their_defaults(home: Home) -> None:
    config, automatic = load_automatic(home.config)
    assert (automatic.keys, automatic.chosen) == (AUTOMATIC, None)
    assert config.training == TrainingConfig()
    assert config.round == RoundConfig()


def test_a_choice_holds_for_all_who_read_the_home(home: Home) -> None:
    choose(home)
    config, automatic = load_automatic(home.config)
    assert automatic.chosen == CHOSEN
    assert config == load_config(home.config)
    assert config.round.steps == 33
    training = config.training
    assert (training.batch_windows, training.learning_rate, training.warmup_steps) == (2, 6e-3, 40)


def test_another_class_of_text_or_model_asks_for_another_choice(home: Home, text: Path) -> None:
    choose(home)
    text.write_text(text.read_text() * 4)
    assert load_automatic(home.config)[1].chosen is None
    choose(home)
    assert load_automatic(home.config)[1].chosen is not None
    config, automatic = load_automatic(home.config, changes=[("model.name", "embedded-small")])
    assert (automatic.chosen, config.model) == (None, ModelConfig(name="embedded-small"))


def test_a_little_more_text_changes_nothing(home: Home, text: Path) -> None:
    choose(home)
    text.write_text(text.read_text() + "and then ")
    assert load_automatic(home.config)[1].chosen == CHOSEN


def test_a_number_takes_the_place_of_auto_and_asks_for_another_choice(home: Home) -> None:
    choose(home)
    change_settings(home.config, {BATCH: 5})
    config, automatic = load_automatic(home.config)
    assert automatic.keys == (RATE, STEPS)
    assert automatic.chosen is None
    assert config.training == replace(TrainingConfig(), batch_windows=5)
    # A batch of this size has a warm-up of its own; a given one brings none.
    choose(home)
    assert load_config(home.config).training == replace(TrainingConfig(), batch_windows=5, learning_rate=6e-3)


def test_what_a_batch_brings_does_not_replace_what_is_given(home: Home) -> None:
    change_settings(home.config, {WARMUP: 3})
    choose(home)
    assert load_config(home.config).training.warmup_steps == 3


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{}", b'{"kind": 3}', b"\xff"],
)
def test_a_choice_that_cannot_be_read_counts_as_none(home: Home, damaged: bytes) -> None:
    choose(home)
    home.choice.write_bytes(damaged)
    assert load_automatic(home.config)[1].chosen is None


def test_a_choice_out_of_bounds_counts_as_none(home: Home) -> None:
    _, automatic = load_automatic(home.config)
    wild = Chosen(settings={BATCH: -1, RATE: 99.0}, why="")
    keep_choice(home.choice, KeptChoice(kind=automatic.kind, chosen=wild))
    config, automatic = load_automatic(home.config)
    assert automatic.chosen is None
    assert config.training == TrainingConfig()


def test_only_the_three_settings_take_auto(home: Home) -> None:
    with pytest.raises(UserMistake, match=r"training\.weight_decay: must be a number, got 'auto'"):
        load_config(home.config, changes=[("training.weight_decay", "auto")])


def test_a_file_without_auto_knows_no_choice(tmp_path: Path, text: Path) -> None:
    made = Home(tmp_path / "given")
    make_home(made, PeerConfig(data=DataConfig(path=str(text))))
    config, automatic = load_automatic(made.config)
    assert automatic.keys == ()
    assert automatic.line == ""
    assert config.training == TrainingConfig()
