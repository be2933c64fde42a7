"""`gossipllm trust diff`: what differs between two runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from support.records import begun_of, entry_of, round_of
from trust.cli import trust
from trust.record.history import HISTORY_FILE, Begun, Record, Round
from trust.record.writer import HistoryWriter

Write = Callable[..., Path]


def diff(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "60"}).invoke(trust, ["diff", *map(str, arguments)])


def compared(*arguments: object) -> list[dict[str, Any]]:
    document = json.loads(diff(*arguments, "--json").stdout)
    assert document["schema"] == 1
    return document["comparisons"]


def complaint(result: Result) -> str:
    """The single line of a command that ended with a user mistake."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def write() -> Write:
    """Writes a folder with a history of the given rounds; `changes` go into the fields of its `Begun` records."""

    def make(folder: Path, *rounds: Round, names: dict[str, str] | None = None, **changes: Any) -> Path:
        folder.mkdir(parents=True)
        peers = dict.fromkeys(record.peer for record in rounds)
        begun: Iterable[Begun] = (begun_of(peer, name=(names or {}).get(peer)) for peer in peers)
        records: list[Record] = [*(msgspec.structs.replace(record, **changes) for record in begun), *rounds]
        with HistoryWriter(folder / HISTORY_FILE, peer="", now=0.0) as writer:
            for record in records:
                writer.append(entry_of(record))
        return folder

    return make


@pytest.fixture
def at() -> Callable[..., Round]:
    """Makes a round with the given test loss after the merge."""

    def make(peer: str, number: int, weights: dict[str, float], loss: float = 2.0, **names: str) -> Round:
        record = round_of(peer, number, weights, names=names)
        return msgspec.structs.replace(record, test_merged=loss)

    return make


def seeds(
    write: Write, at: Callable[..., Round], folder: Path, losses: Iterable[float], **changes: Any
) -> Path:
    """Write a method's folder with a run of two peers for each of the losses."""
    for seed, loss in enumerate(losses):
        rounds = at(f"a{seed}", 0, {f"b{seed}": 0.5}, loss), at(f"b{seed}", 0, {f"a{seed}": 0.25}, loss)
        write(folder / f"seed-{seed}", *rounds, names={f"a{seed}": "anna", f"b{seed}": "bert"}, **changes)
    return folder


def test_peers_with_new_ids_are_matched_by_name(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    first = write(tmp_path / "one", at("id-1", 0, {}, 2.0), names={"id-1": "anna"})
    second = write(tmp_path / "two", at("id-2", 0, {}, 1.5), names={"id-2": "anna"})
    (comparison,) = compared(first, second)
    (peer,) = comparison["pairs"][0]["peers"]
    assert (peer["name"], peer["first_peer"], peer["second_peer"]) == ("anna", "id-1", "id-2")
    assert (peer["first_loss"], peer["second_loss"]) == (2.0, 1.5)
    assert peer["second_perplexity"] == pytest.approx(math.exp(1.5))
    loss, perplexity = comparison["measures"]
    assert (loss["name"], loss["mean"], loss["n"], loss["std"]) == ("test loss", -0.5, 1, None)
    assert perplexity["mean"] == pytest.approx(math.exp(1.5) - math.exp(2))
    # An own weight is compared with an own weight, though the ids differ.
    assert comparison["pairs"][0]["frobenius"] == 0


def test_the_matrices_of_the_last_common_round_are_compared(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    names = {"a": "anna", "b": "bert"}
    first = write(
        tmp_path / "one", at("a", 0, {}), at("a", 1, {"b": 0.5}), at("b", 1, {"a": 0.5}), names=names
    )
    second = write(
        tmp_path / "two",
        at("a", 1, {"b": 0.25, "c": 0.25}, c="carl"),
        at("b", 1, {"a": 0.5}),
        at("a", 2, {}),
        names=names,
    )
    (comparison,) = compared(first, second)
    (pair,) = comparison["pairs"]
    assert (pair["round"], pair["rows"]) == (1, 2)
    # anna's row: -1/4 at bert, +1/4 at carl, who was not seen in the first run; bert's is the same.
    assert pair["frobenius"] == pytest.approx(math.sqrt(2) / 4)
    assert pair["moved"] == pytest.approx(0.125)
    changes = {(w["who"], w["whom"]): (w["first"], w["second"]) for w in pair["weights"]}
    assert changes == {
        ("anna", "bert"): (0.5, 0.25),
        ("anna", "carl"): (0.0, 0.25),
        ("anna", "anna"): (0.5, 0.5),
        ("bert", "anna"): (0.5, 0.5),
        ("bert", "bert"): (0.5, 0.5),
    }
    printed = diff(first, second).stdout
    assert ["anna", "bert", "50.0", "25.0", "-25.0"] in [line.split() for line in printed.splitlines()]
    assert "last rounds differ: 1 in A, 1 to 2 in B" in printed


def test_a_peer_that_stopped_early_does_not_hold_back_the_others(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    rounds = [*(at(peer, number, {}) for peer in "ab" for number in range(5)), at("c", 0, {})]
    first, second = write(tmp_path / "one", *rounds), write(tmp_path / "two", *rounds)
    (pair,) = compared(first, second)[0]["pairs"]
    assert (pair["round"], pair["rows"]) == (4, 2)


def test_settings_that_differ_are_listed_and_others_are_not(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    configurations = (
        '[peer]\nname = "x"\n[data]\npath = "/home/x"\n[training]\nlearning_rate = 0.01\nseed = 1\n',
        '[peer]\nname = "y"\n[data]\npath = "/home/y"\n[training]\nlearning_rate = 0.02\nseed = 1\n',
    )
    trusts = ('{"strategy":"uniform","max_age":4}', '{"strategy":"predictions","max_age":2}')
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, strategy, about, configuration in zip(
        folders, ("uniform", "predictions"), trusts, configurations, strict=True
    ):
        write(folder, at("a", 0, {}), strategy=strategy, trust=about)
        (folder / "peer.toml").write_text(configuration)
    settings = {
        setting["name"]: (setting["first"], setting["second"])
        for setting in compared(*folders)[0]["settings"]
    }
    assert settings == {
        "strategy": ("uniform", "predictions"),
        "training.learning_rate": ("0.01", "0.02"),
        "trust.max_age": ("4", "2"),
    }
    assert "training.learning_rate" in diff(*folders).stdout


def test_a_setting_that_one_side_lacks_is_named(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    folders = [write(tmp_path / name, at("a", 0, {})) for name in ("one", "two")]
    (folders[0] / "peer.toml").write_text("[round]\nsteps = 2\n")
    (folders[1] / "peer.toml").write_text("[round]\nsteps = 2\nwarmup = 1\n")
    settings = compared(*folders)[0]["settings"]
    assert settings == [{"name": "round.warmup", "first": None, "second": "1"}]
    assert "only B has: round.warmup" in diff(*folders).stdout


def test_settings_that_only_one_side_records_do_not_count_as_different(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    first = write(tmp_path / "one", at("a", 0, {}), trust='{"max_age":4}', program="0.2")
    second = write(tmp_path / "two", at("a", 0, {}))
    (first / "peer.toml").write_text("not = [toml")
    (comparison,) = compared(first, second)
    assert comparison["settings"] == []


def test_seeds_are_paired(tmp_path: Path, write: Write, at: Callable[..., Round]) -> None:
    first = seeds(write, at, tmp_path / "r" / "fedavg", (2.0, 3.0, 4.0), strategy="uniform")
    second = seeds(write, at, tmp_path / "r" / "s3", (1.5, 2.4, 3.6))
    (comparison,) = compared(first, second)
    loss, _ = comparison["measures"]
    assert (loss["n"], loss["first"], loss["second"]) == (3, 3.0, 2.5)
    assert loss["mean"] == pytest.approx(-0.5)
    assert loss["std"] == pytest.approx(0.1)
    assert [(pair["first_seed"], pair["second_seed"]) for pair in comparison["pairs"]] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    printed = " ".join(diff(first, second).stdout.split())
    assert "paired by seed: 0, 1, 2" in printed
    assert "method fedavg s3 strategy uniform predictions" in printed
    assert (
        "test loss: B is lower: chance alone would give this much in 1.3 % of cases (paired t-test, 3 seeds)"
        in printed
    )
    assert "Wilcoxon's test: p = 0.25; 3 seeds cannot go below 0.25" in printed


def test_a_difference_within_chance_is_called_not_distinguishable(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    first = seeds(write, at, tmp_path / "r" / "one", (2.0, 3.0, 4.0))
    second = seeds(write, at, tmp_path / "r" / "two", (2.5, 2.6, 3.9))
    assert "test loss: not distinguishable with 3 seeds" in " ".join(diff(first, second).stdout.split())


def test_one_run_each_is_not_called_a_difference_of_methods(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    first = seeds(write, at, tmp_path / "r" / "one", (2.0,)) / "seed-0"
    second = seeds(write, at, tmp_path / "r" / "two", (1.0,)) / "seed-0" / HISTORY_FILE
    printed = " ".join(diff(first, second).stdout.split())
    assert "how much of this is chance is not known" in printed


def test_whole_results_are_compared_method_by_method(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    for results, losses in (("before", (2.0, 3.0)), ("after", (1.0, 2.5))):
        for method in ("fedavg", "s3"):
            seeds(write, at, tmp_path / results / method, losses)
        (tmp_path / results / "scenario.toml").write_text(f'name = "{results}"\npeers = {losses[0]}\n')
    comparison, second_comparison = compared(tmp_path / "before", tmp_path / "after")
    assert (Path(comparison["first"]).name, Path(second_comparison["second"]).name) == ("fedavg", "s3")
    assert comparison["settings"] == [{"name": "peers", "first": "2.0", "second": "1.0"}]
    printed = [line.split() for line in diff(tmp_path / "before", tmp_path / "after").stdout.splitlines()]
    assert ["s3", "2.5000", "1.7500", "-0.7500", "2", "0.2"] in printed
    # A method of one side is compared with the one of its name, or with the only one.
    assert len(compared(tmp_path / "before" / "s3", tmp_path / "after")) == 1
    assert len(compared(tmp_path / "before" / "s3", tmp_path / "after" / "fedavg")) == 1


def test_unfinished_seeds_are_left_out(tmp_path: Path, write: Write, at: Callable[..., Round]) -> None:
    first = seeds(write, at, tmp_path / "r" / "one", (2.0, 3.0))
    (first / "seed-1").rename(first / "seed-1.part")
    (comparison,) = compared(first, first)
    assert [pair["first_seed"] for pair in comparison["pairs"]] == [0]


def test_runs_that_do_not_match_are_one_line_that_says_in_what(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    here = write(tmp_path / "here", at("a", 0, {}))
    base = write(tmp_path / "base", at("a", 0, {}), base="ff")
    others = write(tmp_path / "others", at("z", 0, {}))
    assert "base model 00 in" in complaint(diff(here, base))
    assert f"no common peer; A in {here}, Z in {others}" in complaint(diff(here, others))
    three = seeds(write, at, tmp_path / "r" / "m", (1.0, 2.0, 3.0))
    for seed in (0, 1):
        (three / f"seed-{seed}").rename(tmp_path / "r" / f"gone-{seed}")
    two = seeds(write, at, tmp_path / "s" / "m", (1.0, 2.0))
    assert "no common seed" in complaint(diff(three, two))
    assert "nowhere does not exist" in complaint(diff(three, tmp_path / "nowhere"))
    several = tmp_path / "t"
    for method in ("x", "y"):
        seeds(write, at, several / method, (1.0,))
    assert f"choose one, such as {several / 'x'}" in complaint(diff(several, two))
    assert "does not exist" in complaint(diff(here, tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "no history.msgpack in" in complaint(diff(here, tmp_path / "empty"))


def test_bytes_are_added_up_by_kind(tmp_path: Path, write: Write, at: Callable[..., Round]) -> None:
    first = write(tmp_path / "one", at("a", 0, {}))
    second = write(tmp_path / "two", at("a", 0, {}), at("b", 0, {}))
    (pair,) = compared(first, second)[0]["pairs"]
    assert pair["bytes"] == [{"way": "sent", "kind": "blob", "first": 7, "second": 14}]
    assert pair["second_only"] == ["B"]
    assert "only in B: B" in diff(first, second).stdout


def test_json_is_the_documented_document(tmp_path: Path, write: Write, at: Callable[..., Round]) -> None:
    first = seeds(write, at, tmp_path / "r" / "one", (2.0, math.nan))
    second = seeds(write, at, tmp_path / "r" / "two", (1.0, 2.0), merge="mean")
    (comparison,) = compared(first, second)
    help_text = CliRunner().invoke(trust, ["diff", "--help"]).stdout
    (pair, _) = comparison["pairs"]
    lists = ("settings", "pairs", "measures", "files"), ("weights", "peers", "bytes")
    found = [
        comparison,
        pair,
        *(comparison[name][0] for name in lists[0]),
        *(pair[name][0] for name in lists[1]),
    ]
    for field in {field for each in found for field in each}:
        assert field in help_text
    assert comparison["measures"][0]["first"] is None
    assert diff(first, second).exit_code == 0


def test_a_history_cut_short_is_compared_up_to_there(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    first = write(tmp_path / "one", at("a", 0, {}, 2.0), at("a", 1, {}, 1.0))
    second = write(tmp_path / "two", at("a", 0, {}, 2.0), at("a", 1, {}, 1.0))
    path = second / HISTORY_FILE
    path.write_bytes(path.read_bytes()[:-5])
    assert compared(first, second)[0]["measures"][0]["mean"] == 1.0
    assert "bytes not read" in diff(first, second).stdout


def test_nothing_is_wider_than_the_terminal_and_names_stay_text(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    names = {"a": "[b]\x1b[2J" + "n" * 150, "b": "bert"}
    first = write(tmp_path / "one", at("a", 0, {"b": 0.5}), at("b", 0, {}), names=names, strategy="uniform")
    second = write(tmp_path / "two", at("a", 0, {}), at("b", 0, {"a": 0.125}), names=names)
    result = diff(first, second)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 60


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("versions.json", b'["\xff"]'),
        ("versions.json", b"[" * 5000),
        ("scenario.toml", b"a = " + b"[" * 5000),
        ("scenario.toml", b'a = "\xff"'),
    ],
)
def test_a_file_beside_a_run_that_cannot_be_read_is_passed_over(
    tmp_path: Path, write: Write, at: Callable[..., Round], name: str, data: bytes
) -> None:
    first, second = (seeds(write, at, tmp_path / where / "s3", [2.0]) for where in ("one", "two"))
    (tmp_path / "one" / name).write_bytes(data)
    assert compared(first, second)[0]["settings"] == []


def test_long_settings_are_compared_to_their_end(
    tmp_path: Path, write: Write, at: Callable[..., Round]
) -> None:
    first, second = (seeds(write, at, tmp_path / where / "s3", [2.0]) for where in ("one", "two"))
    for folder, last in (("one", "de"), ("two", "fr")):
        sources = [f"/texts/{'x' * 80}/{part}.jsonl" for part in ("it", "en", "java", last)]
        (tmp_path / folder / "scenario.toml").write_text(f"[data]\nsources = {json.dumps(sources)}\n")
    (setting,) = compared(first, second)[0]["settings"]
    assert setting["name"] == "data.sources"
    assert "de.jsonl" in setting["first"]
    assert "fr.jsonl" in setting["second"]


def test_versions_in_the_current_folder_do_not_belong_to_a_run(
    tmp_path: Path, write: Write, at: Callable[..., Round], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = seeds(write, at, tmp_path / "sim" / "s3", [2.0])
    (tmp_path / "sim" / "versions.json").write_text('["torch 2.0"]')
    home = write(tmp_path / "home", at("a0", 0, {}))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "versions.json").write_text('["torch 1.0"]')
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "torch" not in {setting["name"] for setting in compared(simulated, home)[0]["settings"]}


def test_numbers_of_any_size_are_compared(tmp_path: Path, write: Write, at: Callable[..., Round]) -> None:
    odd = [at("a", 0, {"b": -1e200}, math.inf), at("b", 0, {"a": 1e200}, -math.inf)]
    first = write(tmp_path / "one", *odd)
    second = write(tmp_path / "two", at("a", 0, {"b": 0.5}), at("b", 0, {"a": 0.5}))
    (comparison,) = compared(first, second)
    assert comparison["measures"][0]["first"] is None
    assert comparison["pairs"][0]["frobenius"] == pytest.approx(2e200)
    printed = diff(first, second).stdout
    assert max(map(len, printed.splitlines())) <= 60
    assert "Frobenius norm 2.0e+200, 1.0e+202 % of a row moved" in " ".join(printed.split())
