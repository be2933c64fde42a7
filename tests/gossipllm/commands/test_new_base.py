"""Tests of `gossipllm new-base`: everybody who runs it has the same model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from gossipllm.base import corpus_file
from gossipllm.commands.new_base import new_base
from trust.errors import UserMistake

SHAPE = """
hidden = 16
layers = 2
heads = 2
vocabulary = 300
window = 64
"""


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "shape.toml"
    path.write_text(SHAPE)
    return path


def made(*arguments: object) -> str:
    words = [str(one) for one in arguments]
    result = CliRunner().invoke(new_base, words, catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0
    return result.output


def by_another_process(arguments: Sequence[object], *, hash_seed: str) -> bytes:
    """The command by itself, in an interpreter whose sets and dictionaries of strings are in another order."""
    code = "from gossipllm.commands.new_base import new_base; new_base()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    return done.stdout


def test_two_processes_make_the_same_files_and_print_the_same_digests(shape: Path, tmp_path: Path) -> None:
    """The tokenizer too, which is trained by each."""
    outs = [tmp_path / name for name in ("one", "two")]
    printed = [
        by_another_process([shape, "-o", out, "--tokenizer-text", corpus_file("en")], hash_seed=seed)
        for out, seed in zip(outs, ("1", "2"), strict=True)
    ]

    assert printed[0].splitlines()[1:3] == printed[1].splitlines()[1:3]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


def test_transformers_loads_the_folder_and_an_untrained_model_knows_nothing(
    shape: Path, tmp_path: Path
) -> None:
    said = made(shape, "-o", tmp_path / "base", "--tokenizer", "embedded-1024")

    loaded = cast("Any", AutoModelForCausalLM).from_pretrained(tmp_path / "base")
    tokenizer = cast("Any", AutoTokenizer).from_pretrained(tmp_path / "base")
    tokens = torch.tensor([tokenizer("the same words and other words")["input_ids"]])
    loss = loaded(input_ids=tokens, labels=tokens).loss.item()
    assert loss == pytest.approx(torch.tensor(1024.0).log().item(), abs=0.5)
    assert "1,024 tokens" in said
    assert f"{sum(value.numel() for value in loaded.parameters()):,} weights" in said


def test_a_seed_on_the_command_line_takes_the_place_of_that_in_the_file(shape: Path, tmp_path: Path) -> None:
    one, other = (
        made(shape, "-o", tmp_path / seed, "--tokenizer", "embedded-1024", "--seed", seed)
        for seed in ("public", "another")
    )

    assert one.splitlines()[1] != other.splitlines()[1]
    assert one.splitlines()[2] == other.splitlines()[2], "the tokenizer is the same"


def test_what_is_shown_of_a_preset_reads_back_as_it(tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(made("tiny", "--show"))

    assert made(path, "--show") == path.read_text()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["big", "-o", "base", "--tokenizer", "embedded"], "presets are nano, tiny, small"),
        (["tiny", "--tokenizer", "embedded"], "needs a folder to write"),
        (["tiny", "-o", "base"], "needs one tokenizer"),
        (["tiny", "-o", "base", "--tokenizer", "embedded", "--tokenizer-text", "x"], "needs one tokenizer"),
        (["tiny", "-o", "base", "--tokenizer-text", "no-such.txt"], "--tokenizer-text"),
        (["tiny", "-o", "base", "--tokenizer", "embedded", "--seed", ""], "--seed must not be empty"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UserMistake, match=why):
        made(*arguments)

    assert not (tmp_path / "base").exists()


def test_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shape.toml"
    path.write_text("hiden = 16\n")

    with pytest.raises(UserMistake, match="did you mean hidden"):
        made(path, "-o", tmp_path / "base", "--tokenizer", "embedded")


def test_a_folder_that_holds_something_is_not_overwritten_unasked(shape: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(UserMistake, match="not empty"):
        made(shape, "-o", tmp_path, "--tokenizer", "embedded")
