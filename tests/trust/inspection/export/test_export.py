"""`gossipllm trust export`: each format is opened again with its own library."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import networkx as nx
import numpy as np
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from support.records import append_records, begun_of, entry_of, make_home, round_of, seen_of
from trust.cli import trust
from trust.errors import UserMistake
from trust.files import write_output
from trust.inspection.export.long_form import COLUMNS
from trust.record.history import HISTORY_FILE, Refusal, Relation
from trust.record.writer import HistoryWriter

# pyarrow and networkx have no types.
_parquet, _networkx = cast("Any", parquet), cast("Any", nx)
read_table, read_graphml, parse_graphml = _parquet.read_table, _networkx.read_graphml, _networkx.parse_graphml

LOSSES = (2.0, 2.5, 2.25, 2.5, 2.25)
"""Train, trust alone and merged, test alone and merged, as `make_round` has them."""


def export(*arguments: object) -> Result:
    return CliRunner().invoke(trust, ["export", *map(str, arguments)])


def complaint(result: Result) -> str:
    """The single line of a command that ended with a user mistake."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two peers over two rounds; anna did round 1 twice, and carl is seen, but writes no history here."""
    folder = tmp_path / "run"
    rounds = (
        round_of("id-a", 0, {"id-b": 0.25}),
        round_of("id-a", 1, {"id-b": 0.75}),
        round_of("id-a", 1, {"id-b": 0.375, "id-c": 0.125}, names={"id-c": "carl"}),
    )
    make_home(folder / "one", "id-a", *rounds, name="anna")
    make_home(folder / "two", "id-b", round_of("id-b", 0, {"id-a": 0.0}), name="bert")
    return folder


def written(run: Path, name: str, *options: object) -> Path:
    output = run.parent / name
    result = export(run, "-o", output, *options)
    assert (result.exit_code, result.output) == (0, "")
    return output


EXPECTED = [
    (0, "anna", "anna", 0.75, None, None, None),
    (0, "anna", "bert", 0.25, 0.5, 0.1, 0),
    (0, "bert", "bert", 1.0, None, None, None),
    (0, "bert", "anna", 0.0, 0.5, 0.1, 0),
    (1, "anna", "anna", 0.5, None, None, None),
    (1, "anna", "bert", 0.375, 0.5, 0.1, 0),
    (1, "anna", "carl", 0.125, 0.5, 0.1, 0),
]
"""round, peer_name, from_name, weight, distance, error, age; of a round that was repeated the last counts."""


def test_csv_has_a_line_for_each_round_peer_and_neighbour(run: Path) -> None:
    with written(run, "run.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [column.name for column in COLUMNS]
    numbers = [
        (
            int(line["round"]),
            line["peer_name"],
            line["from_name"],
            float(line["weight"]),
            *(float(line[name]) if line[name] else None for name in ("distance", "error")),
            int(line["age"]) if line["age"] else None,
        )
        for line in lines
    ]
    assert numbers == EXPECTED
    assert {(line["peer"], line["peer_name"]) for line in lines} == {("id-a", "anna"), ("id-b", "bert")}
    names = ("train_loss", "trust_alone", "trust_merged", "test_alone", "test_merged")
    assert all(tuple(float(line[name]) for name in names) == LOSSES for line in lines)
    assert {(line["temperature"], line["guard"]) for line in lines} == {("0.5", "taken")}
    assert {line["relation"] for line in lines if line["peer"] == line["from"]} == {""}
    assert {line["relation"] for line in lines if line["peer"] != line["from"]} == {"merges"}


def test_of_neighbours_with_another_base_the_relation_is_written(tmp_path: Path) -> None:
    relations: tuple[Relation, ...] = ("apart", "compares", "distils", "merges")
    seen = tuple(
        msgspec.structs.replace(seen_of(relation, name=relation, distance=0.5), relation=relation)
        for relation in relations
    )
    folder = make_home(tmp_path / "mixed", "me")
    append_records(folder, "me", begun_of("me"), round_of("me", 0, {}, seen=seen))

    with written(folder, "run.csv").open(encoding="utf-8", newline="") as file:
        lines = {line["from"]: line for line in csv.DictReader(file)}
    with np.load(written(folder, "run.npz"), allow_pickle=False) as arrays:
        in_arrays = dict(zip(arrays["peers"], arrays["relations_RPP"][0, 0], strict=True))
        distances = dict(zip(arrays["peers"], arrays["distances_RPP"][0, 0], strict=True))

    assert {one: lines[one]["relation"] for one in relations} == {one: one for one in relations}
    assert in_arrays == {"me": "", **{one: one for one in relations}}
    assert lines["apart"]["distance"] == ""
    assert math.isnan(distances["apart"])
    assert float(lines["compares"]["distance"]) == distances["compares"] == 0.5


def test_parquet_has_the_same_lines_with_types_and_units(run: Path) -> None:
    table = read_table(written(run, "run.parquet"))
    assert [(field.name, str(field.type)) for field in table.schema][:6] == [
        ("round", "int64"),
        ("peer", "string"),
        ("peer_name", "string"),
        ("from", "string"),
        ("from_name", "string"),
        ("weight", "double"),
    ]
    assert table.schema.field("test_merged").metadata[b"about"].startswith(b"nats per token")
    rows = table.to_pylist()
    names = ("round", "peer_name", "from_name", "weight", "distance", "error", "age")
    assert [tuple(row[name] for name in names) for row in rows] == EXPECTED
    assert tuple(rows[0][column.name] for column in COLUMNS[9:14]) == LOSSES


def test_npz_has_a_matrix_for_each_round(run: Path) -> None:
    with np.load(written(run, "run.npz"), allow_pickle=False) as arrays:
        assert arrays["rounds"].tolist() == [0, 1]
        assert arrays["peers"].tolist() == ["id-a", "id-b", "id-c"]
        assert arrays["names"].tolist() == ["anna", "bert", "carl"]
        nan = math.nan
        expected = [
            [[0.75, 0.25, 0], [0, 1, 0], [nan] * 3],
            [[0.5, 0.375, 0.125], [nan] * 3, [nan] * 3],
        ]
        np.testing.assert_array_equal(arrays["rows_RPP"], expected)
        np.testing.assert_array_equal(arrays["distances_RPP"][1, 0], [nan, 0.5, 0.5])
        np.testing.assert_array_equal(arrays["losses_RPL"][0], [LOSSES, LOSSES, [nan] * 5])
        assert arrays["losses"].tolist()[0] == "train_loss"
        legend = " ".join(arrays["legend"])
        assert all(name in legend for name in arrays if name != "legend")


def test_json_has_every_record_as_it_was_written(run: Path) -> None:
    refusal = Refusal(peer="id-b", about="id-c", field="update", why="too large")
    with HistoryWriter(run / "two" / HISTORY_FILE, peer="id-b", now=0.0) as writer:
        writer.append(entry_of(refusal))
    document = json.loads(written(run, "run.json").read_bytes())
    assert (document["schema"], document["round"]) == (1, None)
    assert [peer["name"] for peer in document["peers"]] == ["anna", "bert", "carl"]
    kinds = [entry["record"]["kind"] for entry in document["entries"]]
    assert kinds == ["begun", "round", "round", "round", "begun", "round", "refusal"]
    assert document["entries"][-1]["record"]["why"] == "too large"
    assert document["entries"][1]["traffic"] == {"sent": {"blob": 7}, "received": {}}
    (seen,) = document["entries"][1]["record"]["seen"]
    assert (seen["name"], seen["weight"]) == ("ID-B", 0.25)
    assert [file["records"] for file in document["files"]] == [4, 3]


def test_graphml_is_the_network_of_the_latest_rows(run: Path) -> None:
    graph = read_graphml(written(run, "run.graphml"))
    assert graph.is_directed()
    assert dict(graph.nodes(data="name")) == {"id-a": "anna", "id-b": "bert", "id-c": "carl"}
    # An edge goes from who learns to whom it takes from; nothing is taken where the weight is 0.
    edges = {(a, b): (about["weight"], about["distance"]) for a, b, about in graph.edges(data=True)}
    assert edges == {("id-a", "id-b"): (0.375, 0.5), ("id-a", "id-c"): (0.125, 0.5)}
    assert graph.nodes["id-a"]["test_merged"] == 2.25
    assert (graph.nodes["id-b"]["round"], graph.nodes["id-b"]["self_weight"]) == (0, 1.0)
    assert set(graph.nodes["id-c"]) == {"name"}


def test_graphml_leaves_out_edges_below_the_threshold(run: Path) -> None:
    graph = read_graphml(written(run, "run.graphml", "--threshold", 0.375))
    assert list(graph.edges) == [("id-a", "id-b")]


def test_one_round_can_be_asked_for(run: Path) -> None:
    assert len(written(run, "run.csv", "--round", 0).read_text().splitlines()) == 1 + 4
    with np.load(written(run, "run.npz", "--round", 0)) as arrays:
        assert arrays["rows_RPP"].shape == (1, 3, 3)
    document = json.loads(written(run, "run.json", "--round", 0).read_bytes())
    assert {entry["record"]["round"] for entry in document["entries"]} == {0}
    graph = read_graphml(written(run, "run.graphml", "--round", 0))
    assert graph.edges["id-a", "id-b"]["weight"] == 0.25
    assert read_table(written(run, "run.parquet", "--round", 1)).num_rows == 3
    assert "recorded round 7; there are 0 to 1" in complaint(export(run, "-o", run / "x.csv", "--round", 7))


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    names = {
        "=id": "=1+1",
        "+id": "+2",
        "-id": "-3",
        "@id": "@SUM(A1)",
        "id": '\'plain, "quoted"',
        "tab": "\t=1",
    }
    record = round_of("me", 0, dict.fromkeys(names, 0.1), names=names)
    output = written(make_home(tmp_path / "home", "me", record), "run.csv")
    lines = list(csv.DictReader(io.StringIO(output.read_text(encoding="utf-8"))))
    names_written = [(line["from"], line["from_name"]) for line in lines[1:]]
    # A tab is escaped, as whatever does not print.
    assert names_written == [
        ("'=id", "'=1+1"),
        ("'+id", "'+2"),
        ("'-id", "'-3"),
        ("'@id", "'@SUM(A1)"),
        ("id", '\'plain, "quoted"'),
        ("tab", "\\t=1"),
    ]


def test_numbers_that_are_not_finite_are_empty_null_or_nan(tmp_path: Path) -> None:
    record = msgspec.structs.replace(
        round_of("me", 0, {"you": 0.5}), test_alone=math.inf, test_merged=math.nan
    )
    far = msgspec.structs.replace(record.seen[0], distance=math.inf)
    run = make_home(tmp_path / "home", "me", msgspec.structs.replace(record, seen=(far,)))
    line = list(csv.DictReader(io.StringIO(written(run, "run.csv").read_text())))[1]
    assert (line["distance"], line["test_alone"], line["test_merged"]) == ("", "", "")
    assert read_table(written(run, "run.parquet")).to_pylist()[1]["distance"] is None
    (entry,) = (
        e for e in json.loads(written(run, "run.json").read_text())["entries"] if "seen" in e["record"]
    )
    assert entry["record"]["test_merged"] is None
    graph = read_graphml(written(run, "run.graphml"))
    assert "test_merged" not in graph.nodes["me"]
    assert graph.edges["me", "you"] == {"weight": 0.5}


def test_text_goes_to_standard_output_on_request(run: Path) -> None:
    result = export(run, "-o", "-", "--format", "csv")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1 + len(EXPECTED)
    assert json.loads(export(run, "-o", "-", "--format", "json").stdout)["schema"] == 1
    graph = parse_graphml(export(run, "-o", "-", "--format", "graphml").stdout)
    assert len(graph) == 3
    assert "npz is no text" in complaint(export(run, "-o", "-", "--format", "npz"))


def test_a_file_is_replaced_only_by_force(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("precious")
    assert "exists; choose another name, or --force" in complaint(export(run, "-o", output))
    assert output.read_text() == "precious"
    assert export(run, "-o", output, "--force").exit_code == 0
    assert output.read_text().startswith("round,")


def test_every_user_mistake_is_one_line(run: Path, tmp_path: Path) -> None:
    assert "tells no format; add --format, one of csv" in complaint(export(run, "-o", tmp_path / "run.xls"))
    assert "--threshold is for graphml" in complaint(
        export(run, "-o", tmp_path / "r.csv", "--threshold", 0.1)
    )
    assert "cannot be written" in complaint(export(run, "-o", tmp_path / "no" / "r.csv"))
    assert "does not exist" in complaint(export(tmp_path / "nowhere", "-o", tmp_path / "r.csv"))
    history = run / "one" / HISTORY_FILE
    before = history.read_bytes()
    assert "is the history itself" in complaint(export(run, "-o", history, "--format", "csv", "--force"))
    assert history.read_bytes() == before


@pytest.mark.parametrize("mishap", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was(tmp_path: Path, mishap: BaseException) -> None:
    output = tmp_path / "run.csv"
    output.write_text("before")

    def half(file: BinaryIO) -> None:
        file.write(b"half")
        raise mishap

    with pytest.raises((UserMistake, KeyboardInterrupt)):
        write_output(output, half)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"run.csv": "before"}


def test_parquet_without_pyarrow_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "[parquet]'" in complaint(export(run, "-o", tmp_path / "run.parquet"))
    assert list(tmp_path.iterdir()) == [run]


def test_columns_and_fields_are_documented(run: Path) -> None:
    help_text = CliRunner().invoke(trust, ["export", "--help"]).stdout
    document = json.loads(written(run, "run.json").read_bytes())
    fields = (*document, *document["entries"][0], *document["files"][0], *(column.name for column in COLUMNS))
    with np.load(written(run, "run.npz")) as arrays:
        assert not [name for name in (*fields, *arrays) if name not in help_text]


def test_a_history_cut_short_is_exported_up_to_there(run: Path, tmp_path: Path) -> None:
    path = run / "two" / HISTORY_FILE
    path.write_bytes(path.read_bytes()[:-5])
    result = export(run, "-o", tmp_path / "run.json")
    assert result.exit_code == 0
    assert "bytes not read" in result.stderr
    document = json.loads((tmp_path / "run.json").read_bytes())
    assert document["files"][1]["torn_bytes"] > 0
    assert len(document["entries"]) == 5


def test_each_format_loads_only_what_it_needs(run: Path) -> None:
    code = (
        "import sys; from trust.cli import trust; "
        "trust(['export', sys.argv[1], '-o', '-', '--format', 'json'], standalone_mode=False); "
        "print({'networkx', 'pyarrow', 'matplotlib', 'torch', 'scipy', 'peers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_graphml_has_no_weight_that_is_no_number(tmp_path: Path) -> None:
    record = msgspec.structs.replace(round_of("a", 0, {"b": 0.5}), self_weight=math.nan)
    home = make_home(tmp_path / "home", "a", record)
    graph = read_graphml(written(home, "out.graphml"))
    assert "self_weight" not in graph.nodes["a"]
    assert graph.nodes["a"]["trust_alone"] == 2.5


def test_a_name_that_no_file_can_have_is_one_line(run: Path, tmp_path: Path) -> None:
    assert "cannot be written" in complaint(export(run, "-o", tmp_path / f"{'x' * 300}.csv"))
