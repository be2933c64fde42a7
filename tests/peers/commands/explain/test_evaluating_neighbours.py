"""`gossipllm eval HOME --data PATH`: the base, what the peer learned, and what it was given, on one text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gossipllm.base import corpus_file
from peers.commands.eval import evaluate
from peers.core.saved import Saved
from peers.home.merge_inputs import read_merge_inputs, write_merge_inputs
from peers.home.store import StateStore
from sim.toy.learner import fingerprints
from wire.digest import Content


@pytest.fixture
def home(told: Any, tmp_path: Path) -> Path:
    """The peer has saved a state; its inputs is that of its last merge."""
    place = Path(shutil.copytree(told.home, tmp_path / "anna"))
    saved = Saved(
        generation=1,
        round=4,
        stage="training",
        fingerprints=fingerprints(),
        snapshot=told.inputs.snapshot,
        frame=b"",
        update=None,
        evidence=None,
        local=None,
        standings=(),
    )
    StateStore(place / "state").save(saved)
    return place


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A few lines in French."""
    file = tmp_path / "notes.txt"
    file.write_text("\n".join(corpus_file("fr").read_text("utf-8").splitlines()[100:104]), "utf-8")
    return file


def run(*words: object) -> None:
    evaluate.main([str(word) for word in words], prog_name="eval", standalone_mode=False)


def test_the_base_the_peer_and_each_neighbour_by_weight(
    home: Path, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(home, "--data", notes, "--json")

    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["task"]) == (1, "text")
    results = found["results"]
    assert [(one["name"], one["adapter"]) for one in results] == [
        ("embedded", None),
        ("anna", str(home)),
        ("bert", "bert"),
        ("cleo", "cleo"),
    ]
    assert len({one["scores"]["perplexity"] for one in results}) == 4
    assert len({one["scores"]["tokens"] for one in results}) == 1
    base, anna, bert, _ = (one["scores"]["perplexity"] for one in results)
    assert anna < base
    assert bert < base


def test_neighbours_can_be_left_out(home: Path, notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(home, "--data", notes, "--json", "--no-neighbours")
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["results"]] == ["embedded", "anna"]


def test_a_table_has_a_line_for_each_and_fits(
    home: Path, notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run(home, "--data", notes)

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["text,", "4", "documents", "perplexity", "bits", "per", "byte", "tokens"]
    assert [line.split()[0] for line in lines[1:5]] == ["embedded", "anna", "bert", "cleo"]


def test_a_neighbour_that_cannot_be_read_is_left_out_by_name(
    home: Path, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = read_merge_inputs(home / "state")
    assert inputs is not None
    broken = msgspec.structs.replace(inputs.members[0], update=Content.of(b"nothing"), name="b\x1b[2Jad")
    write_merge_inputs(home / "state", msgspec.structs.replace(inputs, members=(broken, *inputs.members[1:])))

    run(home, "--data", notes, "--json")

    captured = capsys.readouterr()
    assert [one["name"] for one in json.loads(captured.out)["results"]] == ["embedded", "anna", "cleo"]
    assert "warning: the adapter of b\\x1b[2Jad cannot be measured: " in captured.err


def test_damaged_merge_inputs_are_treated_as_missing(
    home: Path, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "state" / "company").write_bytes(b"GLCOMPN1 and what not")
    run(home, "--data", notes, "--json")
    assert len(json.loads(capsys.readouterr().out)["results"]) == 2
