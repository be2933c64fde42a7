"""`gossipllm trust history`: one peer's row over the rounds."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from support.records import make_home, round_of
from trust.cli import trust
from trust.inspection.history.curves import Curves, curves, lines_of, ticks
from trust.inspection.history.curves_text import print_curves
from trust.inspection.reading.files import read_run


def chart(*arguments: object, columns: int = 60) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(trust, ["history", *map(str, arguments)])


def complaint(result: Result) -> str:
    """The single line of a command that ended with a user mistake."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """anna gives bert more weight each round; ID-C appears in her second round; the last merge is refused."""
    rounds = [
        round_of("id-a", 0, {"id-b": 0.125}),
        round_of("id-a", 1, {"id-b": 0.25, "id-c": 0.125}),
        round_of("id-a", 2, {"id-b": 0.5, "id-c": 0.25}),
        msgspec.structs.replace(round_of("id-a", 3, {"id-b": 0.0, "id-c": 0.0}), guard="refused"),
    ]
    folder = tmp_path / "run"
    make_home(folder / "one", "id-a", *rounds, name="anna")
    make_home(folder / "two", "id-b", round_of("id-b", 0, {"id-a": 0.5}), name="bert")
    return folder


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """A peer with nine neighbours, peer-1 the least and peer-9 the most trusted, over 40 rounds."""
    weights = {f"peer-{n}": n / 100 for n in range(1, 10)}
    rounds = (round_of("me", number, weights) for number in range(40))
    return make_home(tmp_path / "crowd", "me", *rounds)


def test_weights_are_drawn_and_printed_as_numbers(run: Path) -> None:
    result = chart(run, "anna")
    assert result.exit_code == 0
    assert "What anna takes from each neighbour, per cent" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["a", "bert", "12.5", "0.0", "21.9", "4", "of", "4"] in lines
    assert ["b", "ID-C", "0.0", "0.0", "9.4", "3", "of", "4"] in lines
    assert ["*", "itself", "87.5", "100.0", "68.8", "4", "of", "4"] in lines
    assert "merge refused, all kept to itself, in round 3" in result.stdout
    assert "┤" in result.stdout


def test_a_single_neighbour_is_shown_with_its_distance(run: Path) -> None:
    result = chart(run, "anna", "ID-C")
    assert result.exit_code == 0
    assert "What anna takes from ID-C" in result.stdout
    assert "first 0.5000 ± 0.1000, last 0.5000 ± 0.1000" in result.stdout
    assert "bert" not in result.stdout


def test_a_peer_named_twice_shows_its_own_weight(run: Path) -> None:
    result = chart(run, "anna", "anna")
    assert "What anna takes from itself" in result.stdout
    assert "bert" not in result.stdout
    assert json.loads(chart(run, "anna", "anna", "--json").stdout)["about"] == "id-a"


def test_json_is_the_documented_document(run: Path) -> None:
    document = json.loads(chart(run, "anna", "--json").stdout)
    assert (document["schema"], document["peer"], document["name"]) == (1, "id-a", "anna")
    assert document["about"] is None
    assert [peer["name"] for peer in document["peers"]] == ["bert", "ID-C"]
    first, second, *_ = document["rounds"]
    assert (first["round"], first["self_weight"], first["guard"]) == (0, 0.875, "taken")
    assert first["weights"] == [0.125, 0]
    assert (first["distances"], first["errors"], first["ages"]) == ([0.5, None], [0.1, None], [0, None])
    assert second["distances"] == [0.5, 0.5]
    help_text = CliRunner().invoke(trust, ["history", "--help"]).stdout
    for field in (*document, *first, *document["files"][0], *document["peers"][0]):
        assert field in help_text


def test_only_the_last_rounds_where_asked_for(run: Path) -> None:
    document = json.loads(chart(run, "anna", "--last", 2, "--json").stdout)
    assert [row["round"] for row in document["rounds"]] == [2, 3]


def test_six_neighbours_have_a_line_and_the_others_share_one(crowd: Path) -> None:
    lines = lines_of(curves(read_run(crowd), "me", None, last=None))
    assert [line.label.casefold() for line in lines] == [
        *(f"peer-{n}" for n in (9, 8, 7, 6, 5, 4)),
        "3 more",
        "itself",
    ]
    # Nothing is left out of the drawing: each round's lines sum to the whole row.
    for weights in zip(*(line.weights for line in lines), strict=True):
        assert math.isclose(math.fsum(weights), 1.0, abs_tol=1e-12)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("other", [None, "peer-9"])
def test_nothing_is_wider_than_the_terminal(
    crowd: Path, width: int, other: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    print_curves(curves(read_run(crowd), "me", other, last=None), Console(file=out, width=width))
    assert max(map(len, out.getvalue().splitlines())) <= width
    # A terminal that is too small for a drawing still has the numbers.
    assert ("┤" in out.getvalue()) == (width >= 40)
    assert "not drawn" not in out.getvalue() or width < 40


def test_lines_are_told_apart_without_colour(tmp_path: Path) -> None:
    weights = {f"peer-{n}": 0.03 * n for n in range(1, 7)}
    rounds = (round_of("me", number, weights) for number in range(40))
    plain = chart(make_home(tmp_path / "home", "me", *rounds), "me").stdout
    assert "\x1b" not in plain
    drawing = [line for line in plain.splitlines() if "┤" in line or "│" in line]
    for mark in "abcdef*":
        assert any(mark in line for line in drawing)


def test_colour_is_off_where_the_user_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = curves(read_run(run), "anna", None, last=None)
    texts: list[str] = []
    for variable in ("", "1"):
        monkeypatch.setenv("NO_COLOR", variable)
        out = io.StringIO()
        print_curves(shown, Console(file=out, force_terminal=True, color_system="truecolor", width=80))
        texts.append(out.getvalue())
    coloured, plain = texts
    assert "38;2;" in coloured
    assert "38;2;" not in plain


def test_a_signed_distance_is_drawn_below_zero(tmp_path: Path) -> None:
    record = round_of("me", 0, {"you": 0.5})
    better = msgspec.structs.replace(record.seen[0], distance=-0.25)
    later = round_of("me", 1, {"you": 0.5})
    home = make_home(tmp_path / "home", "me", msgspec.structs.replace(record, seen=(better,)), later)
    result = chart(home, "me", "you")
    assert "first -0.2500 ± 0.1000" in result.stdout
    assert "-0.4┤" in result.stdout


def test_an_unknown_peer_is_answered_with_the_known_ones(run: Path) -> None:
    assert 'no peer is called "dora"; there are anna, bert, ID-C' in complaint(chart(run, "dora"))
    assert "ID-C recorded no round" in complaint(chart(run, "id-c"))
    assert "bert never saw ID-C; it saw anna" in complaint(chart(run, "bert", "ID-C"))


def test_a_live_history_is_drawn_up_to_the_record_being_written(run: Path) -> None:
    path = run / "one" / "history.msgpack"
    path.write_bytes(path.read_bytes()[:-5])
    assert "bytes not read" in chart(run, "anna").stdout


def test_curves_become_a_picture_of_few_and_of_many(run: Path, crowd: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    for arguments in ((run, "anna"), (run, "anna", "bert"), (run, "anna", "anna"), (crowd, "me")):
        result = chart(*arguments, "--png", picture)
        assert result.exit_code == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
        picture.unlink()


def test_names_in_a_picture_are_only_text(tmp_path: Path) -> None:
    names = {"x": "_hidden", "y": "$\\frac$", "z": "東京"}
    rounds = [round_of("me", n, dict.fromkeys(names, 0.2), names=names) for n in range(2)]
    home = make_home(tmp_path / "home", "me", *rounds, name="$me$")
    for whom in ((), ("y",)):
        result = chart(home, "me", *whom, "--png", tmp_path / "curves.png")
        assert result.exit_code == 0
        assert result.stderr == f"drawn into {tmp_path / 'curves.png'}\n"


def test_a_picture_that_cannot_be_written_is_one_line(run: Path, tmp_path: Path) -> None:
    assert "cannot be written" in complaint(chart(run, "anna", "--png", tmp_path / "no" / "curves.png"))


def test_a_hostile_name_reaches_neither_the_terminal_nor_the_markup(tmp_path: Path) -> None:
    rounds = [round_of("me", 0, {"you": 0.5}, names={"you": "[b]\x1b[2J"})]
    result = chart(make_home(tmp_path / "home", "me", *rounds, name="[red]\x1b"), "me")
    assert "\x1b" not in result.stdout
    assert "[red]\\x1b" in result.stdout


def test_weights_that_are_no_numbers_are_null_and_are_not_drawn(tmp_path: Path) -> None:
    rounds = [round_of("me", n, {"you": math.nan if n == 1 else 0.5}) for n in range(3)]
    home = make_home(tmp_path / "home", "me", *rounds)
    assert chart(home, "me").exit_code == 0
    assert json.loads(chart(home, "me", "--json").stdout)["rounds"][1]["weights"] == [None]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 12))
def test_ticks_enclose_what_is_drawn_and_zero(a: float, b: float, parts: int) -> None:
    least, most = sorted((a, b))
    found = ticks(least, most, parts=parts)
    slack = 1e-6 * (found[-1] - found[0])
    assert found[0] <= min(least, 0) + slack
    assert found[-1] >= max(most, 0) - slack
    assert 0 in found
    assert 2 <= len(found) <= parts + 2


def test_the_document_needs_neither_plotext_nor_matplotlib(run: Path) -> None:
    code = (
        "import sys; from trust.cli import trust; "
        "trust(['history', sys.argv[1], 'anna', '--json'], standalone_mode=False); "
        "print({'matplotlib', 'plotext', 'torch', 'trio', 'scipy', 'wire', 'peers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_document_can_be_read_back(run: Path) -> None:
    found = msgspec.json.decode(chart(run, "anna", "--json").stdout, type=Curves)
    assert found == curves(read_run(run), "anna", None, last=None)


def test_weights_of_any_size_are_printed_in_few_characters(tmp_path: Path) -> None:
    odd = [(-math.inf, math.inf), (math.inf, -math.inf), (1e300, -1e300)]
    rounds = [
        msgspec.structs.replace(round_of("a", number, {"b": weight}), self_weight=own)
        for number, (own, weight) in enumerate(odd)
    ]
    result = chart(make_home(tmp_path / "a", "a", *rounds), "a")
    assert result.exit_code == 0
    assert ["a", "B", "?", "-1.0e+302", "?", "3", "of", "3"] in [
        line.split() for line in result.stdout.splitlines()
    ]


def test_neighbours_without_a_line_of_their_own_may_have_any_weights(tmp_path: Path) -> None:
    weights = {f"peer-{n}": 0.1 for n in range(7)} | {"peer-8": math.inf, "peer-9": -math.inf}
    home = make_home(tmp_path / "a", "a", round_of("a", 0, weights))
    *_, more, _ = lines_of(curves(read_run(home), "a", None, last=None))
    assert math.isnan(more.weights[0])


def test_rounds_in_which_shares_were_pushed_are_listed(tmp_path: Path) -> None:
    rounds = [
        msgspec.structs.replace(round_of("a", number, {"b": 0.0}), absorbed=absorbed)
        for number, absorbed in ((0, 0), (1, 2))
    ]
    home = make_home(tmp_path / "a", "a", *rounds)
    assert "mass was pushed along edges, without a row, in round 1" in chart(home, "a").stdout
    assert [row["absorbed"] for row in json.loads(chart(home, "a", "--json").stdout)["rounds"]] == [0, 2]
