"""`gossipllm trust explain` on a home that keeps the adapters of its last merge: what is measured is what was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from gossipllm.config import LayersConfig
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Evaluate, Evaluated, Open
from peers.commands.explain.measuring import Reopened
from peers.home.config import load_config
from peers.home.merge_inputs import read_merge_inputs, write_merge_inputs
from trust.cli import trust
from trust.progress import SilentStages
from trust.rows.evidence import Distance
from trust.rows.rows import Neighbour, TrustConfig, candidate_rows

KINDS = ("predictions", "weights", "validation", "parameters", "row-cosines", "perplexity")
"""In which the learner of the fixture measured them."""


def explain(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "60"}).invoke(trust, ["explain", *map(str, words)])


@pytest.fixture(scope="module")
def document(told: Any) -> dict[str, Any]:
    result = explain(told.home, "anna", "bert", "--json")
    assert result.exit_code == 0, result.output
    assert "measuring" in result.stderr
    return json.loads(result.stdout)


def test_in_a_home_its_own_peer_need_not_be_named(told: Any, document: dict[str, Any]) -> None:
    quick = ("--no-measure", "--json")
    short, own = (json.loads(explain(told.home, *who, *quick).stdout) for who in (("bert",), ()))

    assert short["peer"] == document["peer"]
    assert short["neighbour"] == document["neighbour"]
    assert own["peer"] == own["neighbour"] == document["peer"]


def test_it_is_about_two_peers_and_says_which_there_are(told: Any) -> None:
    named = explain(told.home, "anna", "bert", "carl")

    assert named.exit_code == 2
    assert "name two of the peers here, the learner first: anna" in named.stderr


def test_leaving_a_neighbour_out_is_what_the_learner_evaluates(told: Any, document: dict[str, Any]) -> None:
    without = document["without"]
    assert without["why"] == ""
    measured = [without["as_used"], without["kept_at_home"], without["spread"], document["trust_alone"]]
    # Float32, in passes of other sizes.
    assert measured == pytest.approx(told.evaluated.losses, rel=1e-5)
    assert without["kept_at_home_error"] > 0
    assert without["spread_error"] > 0


def test_every_kind_of_evidence_is_what_the_learner_weighs(told: Any, document: dict[str, Any]) -> None:
    """So each strategy's weight is the one that it would have given."""
    strategies = {(one["strategy"], one["form"]): one for one in document["strategies"]}
    for (strategy, form), kind in {
        ("weights", "ours"): "weights",
        ("validation", "ours"): "validation",
        ("weights", "paper-text"): "parameters",
        ("weights", "paper-code"): "row-cosines",
        ("validation", "paper-code"): "perplexity",
    }.items():
        place = KINDS.index(kind)
        neighbours = [
            Neighbour(name, name, (Distance(one.distances[place], one.errors[place]),), (0.0,), 0)
            for name, one in told.weighed.items()
        ]
        config = TrustConfig(strategy=strategy, form=form)  # type: ignore[arg-type]
        weights = [candidate.row[1] for candidate in candidate_rows(config, neighbours)]
        found = strategies[strategy, form]
        assert (found["lowest"], found["highest"]) == pytest.approx((min(weights), max(weights)), abs=1e-4)
        assert found["weight"] is not None
        assert found["trust_loss"] > 0


def test_a_row_is_learned_as_the_learner_does(told: Any, document: dict[str, Any]) -> None:
    (found,) = [one for one in document["strategies"] if one["strategy"] == "learned"]
    assert found["weight"] == pytest.approx(told.fitted.row[1], abs=1e-3)


def test_what_cannot_be_known_afterwards_says_so(document: dict[str, Any]) -> None:
    whys = {(one["strategy"], one["form"]): one["why"] for one in document["strategies"]}
    assert whys["fomo", "ours"] == "not measured in this round"
    assert whys["predictions", "paper-text"] == "not measured in this round"
    assert whys["fixed", "ours"] == "no weights are given"


def test_the_document_is_the_documented_one(document: dict[str, Any]) -> None:
    assert document["schema"] == 1
    told = explain("--help").stdout
    nested = ("peer", "row", "evidence", "tried", "age", "history", "check", "strategies", "without")
    for name in nested:
        for field in document[name][0] if isinstance(document[name], list) else document[name]:
            assert field in told, f"{name}.{field}"
    for field in document:
        assert field in told, field


def test_the_page_fits_and_tells_what_was_measured(told: Any) -> None:
    result = explain(told.home, "anna", "cleo")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 60
    assert "\x1b" not in result.stdout
    assert "Why anna gives cleo 20.0 % in round 3" in result.stdout
    assert "Without cleo\n  anna's trust loss, measured just now:" in result.stdout
    assert "loading" in result.stderr


def test_ones_own_weight_is_measured_by_each_strategy(told: Any) -> None:
    document = json.loads(explain(told.home, "anna", "anna", "--json").stdout)
    weights = {(one["strategy"], one["form"]): one["weight"] for one in document["strategies"]}
    assert weights["local", "ours"] == 1.0
    assert weights["uniform", "ours"] == pytest.approx(1 / 3)
    assert document["without"]["why"] == "it is about the peer itself"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--no-measure",), "--no-measure was given"),
        (("--round", "1"), "the adapters that this home keeps are those of round 3"),
    ],
)
def test_what_is_not_measured_says_why(told: Any, words: tuple[str, ...], why: str) -> None:
    result = explain(told.home, "anna", "bert", "--json", *words)
    assert json.loads(result.stdout)["without"]["why"] == why
    assert result.stderr == ""


@pytest.fixture
def copy(told: Any, tmp_path: Path) -> Path:
    """Of the home, to be spoilt."""
    return Path(shutil.copytree(told.home, tmp_path / "copy"))


def why_unknown(home: Path) -> str:
    result = explain(home, "anna", "bert", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["without"]["why"]


def test_without_kept_adapters_it_is_unknown(copy: Path) -> None:
    inputs = copy / "state" / "company"
    inputs.write_bytes(inputs.read_bytes()[:-1])
    assert "keeps no adapters to measure" in why_unknown(copy)


def test_a_copied_history_alone_explains_without_measuring(copy: Path) -> None:
    (copy / "peer.toml").unlink()
    assert "kept in a peer's home only" in why_unknown(copy)


def test_adapters_of_another_row_are_not_measured(copy: Path) -> None:
    inputs = read_merge_inputs(copy / "state")
    assert inputs is not None
    write_merge_inputs(copy / "state", msgspec.structs.replace(inputs, members=inputs.members[:1]))
    assert "are not those of this record" in why_unknown(copy)


def test_a_configuration_that_changed_since_is_named(copy: Path) -> None:
    config = copy / "peer.toml"
    config.write_text(config.read_text().replace("rank = 2\n", "rank = 4\n"))
    assert "adapter.rank" in why_unknown(copy)


def test_text_that_is_gone_is_named(copy: Path, told: Any) -> None:
    config = copy / "peer.toml"
    config.write_text(config.read_text().replace("anna.txt", "gone.txt"))
    assert "gone.txt" in why_unknown(copy)


def test_a_neighbours_update_that_cannot_be_read_costs_the_measuring_only(copy: Path) -> None:
    inputs = read_merge_inputs(copy / "state")
    assert inputs is not None
    broken = msgspec.structs.replace(inputs.members[0], update=inputs.snapshot)
    members = (broken, *inputs.members[1:])
    write_merge_inputs(copy / "state", msgspec.structs.replace(inputs, members=members))
    assert "an update that was kept does not fit any more" in why_unknown(copy)


def test_help_and_records_alone_load_no_torch(told: Any) -> None:
    code = (
        "import sys; from trust.cli import trust; trust(sys.argv[1:], standalone_mode=False); "
        "print({'torch', 'transformers', 'libp2p'} & set(sys.modules))"
    )
    words = ["explain", str(told.home), "anna", "bert", "--no-measure"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("context", ["int8", "int4"])
def test_a_base_in_few_bits_is_measured_as_the_learner_measures_it(told: Any, context: Any) -> None:
    whole = load_config(told.home / "peer.toml").learner()
    config = replace(whole, layers=LayersConfig(count=1, context=context))
    opening = Open(request=1, config=config, snapshot=told.inputs.snapshot)
    learner, _ = answer(None, opening, lambda _: None)
    updates = tuple(one.update for one in told.inputs.members)
    row = (0.5, 0.3, 0.2)
    _, evaluated = answer(learner, Evaluate(request=2, rows=(row,), updates=updates), lambda _: None)

    bench = Reopened(config, told.inputs, SilentStages())

    mean = bench.mean(bench.losses([row], SilentStages())[row])
    assert isinstance(evaluated, Evaluated)
    assert mean == evaluated.losses[0]
    assert mean != told.evaluated.losses[0]


def test_too_little_memory_costs_the_measuring_only(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("peers.commands.explain.measuring.load_shared_model", full)
    assert why_unknown(copy) == "there is too little memory to measure it"
