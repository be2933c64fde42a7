"""`gossipllm trust show`, as somebody at a terminal meets it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from trust.cli import trust
from trust.matrix import members
from trust.inspection.summary import summary
from trust.inspection.tables import print_summary


def show(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(trust, ["show", *map(str, arguments)])


def complaint(result: Result) -> str:
    """The one line that a mistake ends with."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def run(tmp_path: Path, make_home, make_round) -> Path:
    """Two peers; anna is a round ahead, and both have a neighbour who is gone."""
    folder = tmp_path / "run"
    make_home(
        folder / "peers" / "one",
        "id-a",
        make_round("id-a", 1, {"id-b": 0.25}),
        make_round("id-a", 2, {"id-b": 0.375, "id-c": 0.125}),
        name="anna",
    )
    make_home(folder / "peers" / "two", "id-b", make_round("id-b", 1, {"id-a": 0.0}), name="bert")
    return folder


def test_a_run_is_shown_as_a_matrix_with_its_losses(run: Path) -> None:
    result = show(run)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["who", "learns", "anna", "bert", "ID-C"] in lines
    assert ["anna", "*50", "38", "12"] in lines
    assert ["bert", "·", "*100", "·"] in lines
    # 1 / (1/4 + 9/64 + 1/64) = 64/26.
    assert ["anna", "2", "0.50", "2.5", "2.5000", "2.2500", "-0.2500", "taken"] in lines
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
    told = CliRunner().invoke(trust, ["show", "--help"]).stdout
    for field in (*document, *anna, *document["files"][0]):
        assert field in told


def test_a_round_can_be_asked_for(run: Path) -> None:
    document = json.loads(show(run, "--json", "--round", 2).stdout)
    assert [row["name"] for row in document["rows"]] == ["anna"]
    assert document["round"] == 2


def test_a_round_that_nobody_recorded_is_told_with_those_that_are(run: Path) -> None:
    assert "recorded round 9; there are 1 to 2" in complaint(show(run, "--round", 9))


def test_a_live_history_is_shown_up_to_the_record_being_written(run: Path) -> None:
    path = run / "peers" / "one" / "history.msgpack"
    path.write_bytes(path.read_bytes()[:-5])
    result = show(run)
    assert result.exit_code == 0
    assert "bytes not read" in result.stdout
    (file, _) = json.loads(show(run, "--json").stdout)["files"]
    assert (file["records"], file["torn_bytes"] > 0) == (2, True)


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    assert "does not exist" in complaint(show(tmp_path / "nowhere"))


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    assert "no history.msgpack in" in complaint(show(tmp_path))


def test_a_peer_before_its_first_round_is_one_line(tmp_path: Path, make_home) -> None:
    assert "finished a round yet" in complaint(show(make_home(tmp_path / "home", "a")))


def test_a_foreign_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "history.msgpack").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "is no history: byte 0: not a record" in complaint(show(tmp_path))


def test_a_hostile_name_reaches_neither_the_terminal_nor_the_markup(
    tmp_path: Path, make_home, make_round
) -> None:
    home = make_home(tmp_path / "home", "a", make_round("a", 1, {}), name="[bold]\x1b[2J")
    result = show(home)
    assert "\x1b" not in result.stdout
    assert "[bold]\\x1b" in result.stdout


def test_a_heat_map_is_a_png_of_few_and_of_many(run: Path, tmp_path: Path, make_home, make_round) -> None:
    many = {f"peer-{n}": 0.01 for n in range(30)}
    crowd = make_home(tmp_path / "crowd", "me", make_round("me", 1, many), name="$me$ 東京")
    for place in (run, crowd):
        result = show(place, "--png", tmp_path / "trust.png")
        assert result.exit_code == 0
        assert (tmp_path / "trust.png").read_bytes().startswith(b"\x89PNG")


def test_a_heat_map_that_cannot_be_written_is_one_line(run: Path, tmp_path: Path) -> None:
    assert "cannot be written" in complaint(show(run, "--png", tmp_path / "no" / "trust.png"))


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("count", [2, 30])
def test_nothing_is_wider_than_the_terminal(width: int, count: int, make_entry, make_round) -> None:
    peers = [f"12D3KooW{n:044}" for n in range(count)]
    rounds = [make_round(me, 7, {other: 1 / count for other in peers if other != me}) for me in peers]
    out = io.StringIO()
    shown = summary(members(map(make_entry, rounds)), [])
    print_summary(shown, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    # Every peer's own weight stands somewhere, however many blocks of columns there are.
    assert sum(line.count("*") for line in lines) == count + 1


def test_colour_is_off_where_the_user_says_so(monkeypatch, make_entry, make_round) -> None:
    shown = summary(members([make_entry(make_round("a", 1, {"b": 0.5}))]), [])
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
