"""Tests of `gossipllm data show`: the account of a text and what of its windows bears loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gossipllm.commands.data import data
from trust.errors import UserMistake

Show = Callable[..., Result]


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    file = tmp_path / "talks.jsonl"
    turns = [
        {
            "messages": [
                {"role": "user", "content": f"What of {number}?"},
                {"role": "assistant", "content": f"The otter of {number} sang.\x1b[31m"},
            ]
        }
        for number in range(60)
    ]
    file.write_text("\n".join(map(json.dumps, turns)))
    return file


@pytest.fixture
def show(model_folder: Callable[[str], Path]) -> Show:
    def run(*arguments: object) -> Result:
        words = ["show", *map(str, arguments), "--base", str(model_folder("llama"))]
        return CliRunner().invoke(data, words, catch_exceptions=False)

    return run


def test_three_windows_are_shown_with_marks_where_there_is_no_colour(show: Show, talks: Path) -> None:
    shown = show(talks, "--window-tokens", 32)

    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("text: 1 file, 60 documents, ")
    assert shown.output.count("--- training window") == 3
    assert "{+" in shown.output
    assert "\x1b" not in shown.output


def test_the_document_says_which_tokens_bear_loss(show: Show, talks: Path, tokenizer: Any) -> None:
    answers, all_of_it = (
        json.loads(show(talks, "--window-tokens", 32, "--json", "--loss", loss).output)
        for loss in ("answers", "all")
    )

    assert answers["account"]["answered"] == 60
    assert len(answers["examples"]) == 3
    for window in answers["examples"]:
        assert sum(len(run["ids"]) for run in window) == 32
        for run in window:
            assert run["text"] == tokenizer.decode(run["ids"])
            assert not run["bears"] or "user" not in run["text"]
    assert all(
        sum(len(run["ids"]) for run in window if run["bears"]) == 31 for window in all_of_it["examples"]
    )


def test_a_home_is_shown_by_its_own_settings(show: Show, talks: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "peer.toml").write_text(
        f'[data]\npath = "{talks}"\nwindow_tokens = 24\nloss = "all"\n[peer]\nname = "x"\n'
    )

    shown = json.loads(show(home, "--json").output)

    assert shown["path"] == str(talks)
    assert shown["loss"] == "all"
    assert shown["account"]["windows"]["length"] == 24


def test_an_empty_path_is_a_mistake() -> None:
    shown = CliRunner().invoke(data, ["show", ""])

    assert isinstance(shown.exception, UserMistake) or shown.exit_code == 2
    assert "is empty" in f"{shown.exception} {shown.output}"
