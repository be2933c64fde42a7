"""`gossipllm trust show`: its output, its documents and its error messages."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from rich.cells import cell_len
from rich.console import Console

from support.records import entry_of, make_home, round_of
from trust.cli import trust
from trust.inspection.reading.ordering import Order, ordered
from trust.inspection.reading.summary import summary
from trust.inspection.reading.traffic import totals, with_bytes
from trust.inspection.show.tables import print_summary
from trust.record.matrix import members


def show(*arguments: object, columns: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(trust, ["show", *map(str, arguments)])


def complaint(result: Result) -> str:
    """The single line of a command that ended with a user mistake."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two peers; anna is a round ahead, and mentions ID-C, which wrote no history."""
    folder = tmp_path / "run"
    make_home(
        folder / "peers" / "one",
        "id-a",
        round_of("id-a", 1, {"id-b": 0.25}),
        round_of("id-a", 2, {"id-b": 0.375, "id-c": 0.125}),
        name="anna",
    )
    make_home(folder / "peers" / "two", "id-b", round_of("id-b", 1, {"id-a": 0.0}), name="bert")
    return folder


def test_a_run_is_shown_as_a_matrix_with_its_losses(run: Path) -> None:
    result = show(run)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["who", "learns", "anna", "bert", "ID-C"] in lines
    assert ["anna", "*50", "38", "12"] in lines
    assert ["bert", "·", "*100", "·"] in lines
    # 1 / (1/4 + 9/64 + 1/64) = 64/26.
    # -(ln(1/2)/2 + 3/8 ln(3/8) + ln(1/8)/8) = 0.97.
    assert ["anna", "2", "0.50", "2.5", "0.97", "taken", "2.5000", "2.2500", "-0.2500"] in lines
    assert ["mean", "0.75", "1.7", "0.49", "2.5000", "2.2500", "-0.2500"] in lines
    # Only anna and bert have rows: |0.375 - 0| / |0.375 + 0|.
    assert "asymmetry of the matrix: 1.00" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("place", ["peers", "peers/one", "peers/one/history.msgpack"])
def test_a_home_a_folder_of_homes_or_a_file_will_do(run: Path, place: str) -> None:
    result = show(run / place)
    assert result.exit_code == 0
    assert "anna" in result.stdout


def test_json_is_the_documented_document(run: Path) -> None:
    document = json.loads(show(run, "--json").stdout)
    assert document["schema"] == 1
    assert document["round"] is None
    assert [peer["name"] for peer in document["peers"]] == ["anna", "bert", "ID-C"]
    anna, bert = document["rows"]
    assert anna["weights"] == [0.5, 0.375, 0.125]
    assert (anna["peer"], anna["round"], anna["self_weight"], anna["guard"]) == ("id-a", 2, 0.5, "taken")
    assert bert["weights"] == [0, 1, 0]
    assert [(file["records"], file["torn_bytes"]) for file in document["files"]] == [(3, 0), (2, 0)]
    help_text = CliRunner().invoke(trust, ["show", "--help"]).stdout
    for field in (*document, *anna, *document["files"][0]):
        assert field in help_text


def test_json_of_all_that_can_be_asked_for_is_documented(run: Path, tmp_path: Path) -> None:
    oracle = tmp_path / "oracle.csv"
    oracle.write_text(",anna,bert,ID-C\nanna,2,1,1\nbert,1,2,1\nID-C,0,0,1\n")
    document = json.loads(show(run, "--json", "--bytes", "--order", "cluster", "--against", oracle).stdout)
    help_text = CliRunner().invoke(trust, ["show", "--help"]).stdout
    for fields in (document, document["rows"][0], document["against"], document["bytes"][0]):
        assert not [field for field in fields if field not in help_text]
    assert document["order"] == "cluster"
    assert sorted(peer for group in document["groups"] for peer in group) == ["id-a", "id-b", "id-c"]
    assert document["against"]["path"] == str(oracle)
    assert {row["name"]: row["divergence"] > 0 for row in document["rows"]} == {"anna": True, "bert": True}
    # Every process of the fixture says 7 bytes, once.
    assert document["bytes"][0]["sent"] == {"blob": 7}


def test_a_comparison_and_bytes_stand_below_the_matrix(run: Path, tmp_path: Path) -> None:
    oracle = tmp_path / "oracle.csv"
    oracle.write_text(",anna,bert,ID-C\nanna,2,1,1\nbert,1,2,1\nID-C,0,0,1\n")
    result = show(run, "--bytes", "--against", oracle)
    assert result.exit_code == 0
    assert "KL  Spearman" in result.stdout
    assert "Frobenius norm of the difference: " in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["anna", "7", "B", "0", "B", "7", "B", "0", "B"] in lines
    assert ["total", "14", "B", "0", "B", "14", "B", "0", "B"] in lines


def test_a_bad_oracle_is_one_line(run: Path, tmp_path: Path) -> None:
    oracle = tmp_path / "oracle.csv"
    oracle.write_text(",anna\nanna,x\n")
    assert 'oracle.csv, line 2, column 2: "x" is no weight' in complaint(show(run, "--against", oracle))


def test_clusters_are_separated_by_rules(tmp_path: Path) -> None:
    for a, b in (("a", "c"), ("b", "d"), ("c", "a"), ("d", "b")):
        make_home(tmp_path / a, a, round_of(a, 1, {b: 0.5}))
    lines = show(tmp_path, "--order", "cluster").stdout.splitlines()
    assert {frozenset(line.split()[0] for line in part) for part in (lines[1:3], lines[4:6])} == {
        frozenset("AC"),
        frozenset("BD"),
    }
    assert lines[0].split().index("│") == 4
    assert set(lines[3]) == {"─", "┼"}
    assert len(lines[3]) == max(len(line) for line in lines[:6])
    assert "2 clusters" in lines[8]


def test_several_homes_make_one_matrix(run: Path) -> None:
    together = show(run / "peers" / "one", run / "peers" / "two")
    assert together.stdout == show(run).stdout


def test_no_number_of_a_foreign_history_breaks_a_table(tmp_path: Path) -> None:
    for peer, weights in (
        ("a", {"b": 1e300}),
        ("b", {"a": float("inf"), "c": -5.0}),
        ("c", {"a": float("nan")}),
    ):
        record = msgspec.structs.replace(round_of(peer, 1, weights), trust_merged=1e300, test_merged=math.inf)
        make_home(tmp_path / "homes" / peer, peer, record)
    for order in ("name", "cluster", "self", "effective"):
        result = show(tmp_path, "--order", order, "--bytes", "--png", tmp_path / "trust.png")
        assert result.exception is None
        assert max(map(len, result.stdout.splitlines())) <= 100
        assert json.loads(show(tmp_path, "--order", order, "--json").stdout)["schema"] == 1


def test_a_round_can_be_asked_for(run: Path) -> None:
    document = json.loads(show(run, "--json", "--round", 2).stdout)
    assert [row["name"] for row in document["rows"]] == ["anna"]
    assert document["round"] == 2


def test_an_unrecorded_round_is_answered_with_the_recorded_ones(run: Path) -> None:
    assert "recorded round 9; there are 1 to 2" in complaint(show(run, "--round", 9))


def test_a_live_history_is_shown_up_to_the_record_being_written(run: Path) -> None:
    path = run / "peers" / "one" / "history.msgpack"
    path.write_bytes(path.read_bytes()[:-5])
    result = show(run)
    assert result.exit_code == 0
    assert "bytes not read" in result.stdout
    file, _ = json.loads(show(run, "--json").stdout)["files"]
    assert (file["records"], file["torn_bytes"] > 0) == (2, True)


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    assert "does not exist" in complaint(show(tmp_path / "nowhere"))


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    assert "no history.msgpack in" in complaint(show(tmp_path))


def test_a_peer_before_its_first_round_is_one_line(tmp_path: Path) -> None:
    assert "finished a round yet" in complaint(show(make_home(tmp_path / "home", "a")))


def test_a_foreign_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "history.msgpack").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "is no history: byte 0: not a record" in complaint(show(tmp_path))


def test_a_hostile_name_reaches_neither_the_terminal_nor_the_markup(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", "a", round_of("a", 1, {}), name="[bold]\x1b[2J")
    result = show(home)
    assert "\x1b" not in result.stdout
    assert "[bold]\\x1b" in result.stdout


def test_a_heat_map_is_a_png_of_few_and_of_many(run: Path, tmp_path: Path) -> None:
    many = {f"peer-{n}": 0.01 for n in range(30)}
    crowd = make_home(tmp_path / "crowd", "me", round_of("me", 1, many), name="$me$ 東京")
    for place in (run, crowd):
        result = show(place, "--png", tmp_path / "trust.png")
        assert result.exit_code == 0
        assert (tmp_path / "trust.png").read_bytes().startswith(b"\x89PNG")


def test_a_heat_map_that_cannot_be_written_is_one_line(run: Path, tmp_path: Path) -> None:
    assert "cannot be written" in complaint(show(run, "--png", tmp_path / "no" / "trust.png"))


@pytest.mark.parametrize("order", ["name", "cluster"])
@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("count", [2, 30])
def test_nothing_is_wider_than_the_terminal(width: int, count: int, order: Order) -> None:
    peers = [f"12D3KooW{n:044}" for n in range(count)]
    rounds = [round_of(me, 7, {other: 1 / count for other in peers if other != me}) for me in peers]
    out = io.StringIO()
    entries = [entry_of(record) for record in rounds]
    shown = with_bytes(ordered(summary(members(entries), []), order), totals(entries))
    print_summary(shown, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    # Every peer's own weight stands somewhere, however many blocks of columns there are.
    assert sum(line.count("*") for line in lines) == count + 1


def test_the_legend_needs_no_more_than_eighty_columns(run: Path, tmp_path: Path) -> None:
    oracle = tmp_path / "oracle.csv"
    oracle.write_text(",anna,bert,ID-C\nanna,2,1,1\nbert,1,2,1\nID-C,0,0,1\n")
    legends: dict[int, str] = {}
    for columns in (60, 80, 300):
        printed = show(run, "--against", oracle, columns=columns).stdout
        legends[columns] = printed[printed.index("asymmetry") :]
        assert not [line for line in legends[columns].splitlines() if line.endswith(" ")]
        assert columns == 300 or max(map(len, legends[columns].splitlines())) <= columns
    # The last line ends in a path.
    before, _, _ = legends[300].partition("Frobenius")
    assert legends[80].startswith(before)
    assert not legends[60].startswith(before)


def test_one_row_has_no_asymmetry(run: Path) -> None:
    result = show(run / "peers" / "one")
    assert "asymmetry" not in result.stdout
    assert "effective: number of collaborators" in result.stdout
    assert json.loads(show(run / "peers" / "one", "--json").stdout)["asymmetry"] is None


def test_a_heat_map_whose_drawing_fails_leaves_what_was(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "trust.png"
    picture.write_bytes(b"before")

    def fail(_: Figure, file: BinaryIO, **__: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    assert "cannot be written: No space left on device" in complaint(show(run, "--png", picture))
    assert picture.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["trust.png"]


def test_names_in_wide_letters_keep_columns_aligned() -> None:
    names = {"a": "東京の大きな学校", "b": "bert", "c": "漢字"}
    rounds = [round_of(me, 1, dict.fromkeys(set("abc") - {me}, 0.25), names=names) for me in "abc"]
    out = io.StringIO()
    print_summary(summary(members(map(entry_of, rounds)), []), Console(file=out, width=60))
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 60
    assert len({cell_len(line) for line in lines[:4]}) == 1


def test_colour_is_off_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = summary(members([entry_of(round_of("a", 1, {"b": 0.5}))]), [])
    coloured, plain = io.StringIO(), io.StringIO()
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_summary(shown, Console(file=coloured, force_terminal=True, color_system="truecolor", width=80))
    monkeypatch.setenv("NO_COLOR", "1")
    print_summary(shown, Console(file=plain, force_terminal=True, color_system="truecolor", width=80))
    assert "48;2;" in coloured.getvalue()
    assert "48;2;" not in plain.getvalue()


def test_matplotlib_is_loaded_for_pictures_only_and_torch_never(run: Path) -> None:
    code = (
        "import sys; from trust.cli import trust; trust(['show', sys.argv[1]], standalone_mode=False); "
        "print({'matplotlib', 'torch', 'trio', 'scipy', 'wire', 'peers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
