"""`gossipllm eval` as a user meets it: a table or JSON of the base and what goes beside it, one line for a mistake."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import click
import numpy as np
import pytest

from gossipllm.base import model_folder
from gossipllm.config import AdapterConfig, DataConfig, ModelConfig
from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot, SnapshotHeader, encode_snapshot
from gossipllm.model.loading.models import base_fingerprint, load_base
from peers.commands.eval import evaluate
from peers.core.saved import Saved
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.home.store import StateStore
from peers.identity import Identity
from sim.toy.learner import fingerprints
from trust.errors import UserMistake
from wire.digest import Content

FACTS = "mr,ref\nname[A],A is a pub.\nname[A],The pub A.\nname[B],B is a bar.\n"


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    """A state over the embedded base that changes what it says a little."""
    base = load_base(ModelConfig(device="cpu", dtype="float32"))
    fingerprint = base_fingerprint(base.model)
    config = AdapterConfig(rank=2, alpha=4.0)
    blueprint = attach(base.model, config).blueprint(config)
    draws = np.random.default_rng(0)
    state = {
        spec.name: draws.normal(0, 0.02, spec.shape).astype(np.float32) for spec in blueprint.layout.tensors
    }
    header = SnapshotHeader(
        base=fingerprint,
        tokenizer=b"",
        layout=b"",
        model_name="embedded",
        rank=2,
        alpha=4.0,
        fan_in_fan_out=blueprint.fan_in_fan_out,
        round=1,
        steps=1,
    )
    return encode_snapshot(Snapshot(header, state, {}, {}, {}))


@pytest.fixture
def home(tmp_path: Path, snapshot: bytes) -> Path:
    """The home of a peer that has saved a state once."""
    place = Home(tmp_path / "anna")
    place.folder.mkdir()
    Identity.generate().save(place.identity)
    model = ModelConfig(device="cpu", dtype="float32", threads=1)
    write_config(place.config, PeerConfig(data=DataConfig(path="notes.txt"), model=model))
    saved = Saved(
        generation=1,
        round=0,
        stage="training",
        fingerprints=fingerprints(),
        snapshot=Content.of(snapshot),
        frame=b"",
        update=None,
        evidence=None,
        local=None,
        standings=(),
    )
    StateStore(place.state).save(saved)
    return place.folder


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    file = tmp_path / "facts.csv"
    file.write_text(FACTS, encoding="utf-8")
    return file


def run(*words: object) -> None:
    evaluate.main([str(word) for word in words], prog_name="eval", standalone_mode=False)


def base_only(*words: object) -> None:
    run("embedded", "--device", "cpu", "--dtype", "float32", "--threads", 1, *words)


def test_a_home_is_compared_with_its_base_and_with_its_own_export(
    home: Path, snapshot: bytes, facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_adapter(snapshot, tmp_path / "exported")

    run(home, "--task", "e2e", "--data", facts, "--adapter", tmp_path / "exported", "--json", "--show", 1,
        "--max-new-tokens", 5)  # fmt: skip

    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert found["examples"] == 2
    assert found["new_tokens"] == 5
    assert set(found["signatures"]) == {"rouge", "bleu", "chrf"}
    base, own, exported = found["results"]
    assert [base["name"], own["name"], exported["name"]] == ["embedded", "anna", "exported"]
    assert [base["adapter"], own["adapter"]] == [None, str(home)]
    assert own["scores"] == pytest.approx(exported["scores"], rel=1e-4)  # float32, products in another order
    assert own["scores"]["perplexity"] != pytest.approx(base["scores"]["perplexity"], rel=1e-3)
    (shown,) = found["shown"]
    assert shown["expected"] == ["A is a pub.", "The pub A."]
    assert len(shown["answers"]) == 3


def test_a_table_says_what_was_measured(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base_only("--task", "e2e", "--data", facts, "--max-new-tokens", 4, "--show", 1, "--limit", 1)

    out = capsys.readouterr().out
    assert "e2e, 1 examples" in out
    assert all(
        label in out for label in ("ROUGE-L", "BLEU", "chrF", "bits per byte", "nrefs:2", "expected: A is")
    )


def test_plain_text_is_measured_by_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("One note.\n\nAnother note.\n\nA third.\n")

    base_only(
        "--task", "text", "--data", tmp_path / "notes.txt", "--limit", 2, "--window-tokens", 4, "--json"
    )

    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["examples"] == 2
    assert set(found["results"][0]["scores"]) == {"perplexity", "bits_per_byte", "tokens"}
    assert "embedded: reading" in captured.err


def test_choices_are_measured_by_their_likelihood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {
        "premise": "It rained.",
        "choice1": "I got wet.",
        "choice2": "I sang.",
        "question": "effect",
        "label": 0,
    }
    (tmp_path / "copa.jsonl").write_text(json.dumps(record))

    base_only("--task", "copa", "--data", tmp_path / "copa.jsonl", "--metrics", "accuracy", "--json")

    assert json.loads(capsys.readouterr().out)["results"][0]["scores"]["accuracy"] in (0, 100)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("embedded", "--task", "e2e", "--data", "{facts}", "--metrics", "rouge,accuracy"), '"accuracy" does not go'),
        (("embedded", "--task", "copa", "--data", "{facts}", "--metrics", ""), '--metrics: "" does not go'),
        (("embedded", "--task", "e2e", "--data", "none.csv"), "--data: there is no file none.csv"),
        (("embedded", "--task", "copa", "--data", "{facts}"), "facts.csv:1:"),
        (("embedded", "--task", "e2e", "--data", "{facts}", "--max-new-tokens", 256), "the model takes 256 tokens"),
        (("embedded", "--task", "text", "--data", "{facts}"), "has the keys `mr`, `ref`"),
        (("embedded", "--task", "e2e", "--data", "{facts}", "--adapter", "{folder}"), "neither a peer's home nor an"),
        (("./nowhere", "--task", "e2e", "--data", "{facts}"), "MODEL_OR_HOME: there is no folder ./nowhere"),
        ((" ", "--task", "e2e", "--data", "{facts}"), "MODEL_OR_HOME: name must be"),
        (("{exported}", "--task", "e2e", "--data", "{facts}"), "is an adapter; name its base model"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it(
    words: tuple[object, ...], says: str, facts: Path, snapshot: bytes, tmp_path: Path
) -> None:
    export_adapter(snapshot, tmp_path / "exported")
    places = {"facts": facts, "folder": tmp_path, "exported": tmp_path / "exported"}

    with pytest.raises(UserMistake) as caught:
        run(*(str(word).format(**places) for word in words))

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_home_of_another_base_is_refused_by_name(home: Path, facts: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in model_folder().iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))

    with pytest.raises(UserMistake, match="anna was trained on another base model"):
        run(other, "--task", "e2e", "--data", facts, "--adapter", home, "--device", "cpu")


def test_a_home_before_its_first_round_says_what_to_do(home: Path, facts: Path) -> None:
    for file in (home / "state").iterdir():
        file.unlink()
    (home / "state").rmdir()

    with pytest.raises(
        UserMistake, match="has learned nothing before its first round; run it with: gossipllm run"
    ):
        run(home, "--task", "e2e", "--data", facts)

    assert not (home / "state").exists(), "who measures writes nothing"


def test_without_the_libraries_the_command_says_what_to_install(
    facts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def found(name: str) -> ModuleSpec | None:
        return None if name == "rouge_score" else real(name)

    monkeypatch.setattr(importlib.util, "find_spec", found)

    with pytest.raises(UserMistake, match=r"rouge needs rouge-score.*pip install '.*\[eval\]'"):
        run("embedded", "--task", "e2e", "--data", facts)


def test_an_unknown_task_is_a_usage_error(facts: Path) -> None:
    with pytest.raises(click.UsageError, match="'poetry' is not one of"):
        run("embedded", "--task", "poetry", "--data", facts)


def test_help_answers_without_torch() -> None:
    load = "import sys; from gossipllm.cli import root; root.main(sys.argv[1:], standalone_mode=False)"
    code = f"{load}; assert not {{'torch', 'transformers', 'sacrebleu'}} & set(sys.modules)"
    for words in (["--help"], ["eval", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "eval" in done.stdout
