"""`gossipllm trust show` marks neighbours that were left out, blocked peers and a return to the last good state."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from matplotlib.text import Text

from support.records import make_home, round_of, seen_of
from trust.cli import trust
from trust.inspection.reading.summary import summary
from trust.inspection.show.plots import heat_map
from trust.record.blocked import BlockedPeer, write_blocked
from trust.record.history import LeftOut, Round, Seen
from trust.record.matrix import PeerRounds


def show(*arguments: object, columns: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(trust, ["show", *map(str, arguments)])


def left(name: str, why: LeftOut) -> Seen:
    return msgspec.structs.replace(seen_of(f"id-{name}", name=name), left=why)


def row(*seen: Seen) -> Round:
    return round_of(
        "id-anna", 3, {}, seen=(*seen, seen_of("id-cleo", name="cleo", weight=0.25)), self_weight=0.75
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Anna took cleo, and left out bert, who does harm, and dora, who is a twin."""
    seen = (left("bert", "harmful"), left("dora", "twin"))
    return make_home(tmp_path / "anna", "id-anna", row(*seen), name="anna")


def test_a_neighbour_that_was_left_out_has_its_own_mark(home: Path) -> None:
    out = show(home).stdout

    lines = [line.split() for line in out.splitlines()]
    assert ["anna", "*75", "✗", "25", "✗"] in lines
    assert "· nothing, ✗ tried and left out" in out
    assert "anna left out: harmful bert; twin dora\n" in out


def test_the_neighbours_left_out_are_counted_and_named_in_the_document(home: Path) -> None:
    out = show(home).stdout

    assert "left out" in next(line for line in out.splitlines() if line.startswith("peer"))
    (anna,) = json.loads(show(home, "--json").stdout)["rows"]
    assert anna["left_out"] == {"id-bert": "harmful", "id-dora": "twin"}


def test_a_flood_of_identities_does_not_fill_the_screen(tmp_path: Path) -> None:
    flood = tuple(left(f"x{number}", "own") for number in range(60))

    out = show(make_home(tmp_path / "anna", "id-anna", row(*flood), name="anna")).stdout

    assert "own x0, x1, x2, x3, x4 and 55 more" in " ".join(out.split())


def test_a_row_without_trials_is_shown_as_before(tmp_path: Path) -> None:
    out = show(make_home(tmp_path / "anna", "id-anna", row(), name="anna")).stdout

    assert "✗" not in out
    assert "left out" not in out


def test_a_blocked_peer_is_marked_in_the_matrix(home: Path) -> None:
    write_blocked(home, [BlockedPeer(peer="id-bert", name="bert", why="it lies")])

    out = show(home).stdout

    assert "bert†" in out
    assert "† blocked, see below" in out
    assert "bert is blocked by" in out


def test_a_return_to_the_last_good_state_is_explained(tmp_path: Path) -> None:
    record = msgspec.structs.replace(row(), guard="returned")

    out = show(make_home(tmp_path / "anna", "id-anna", record, name="anna")).stdout

    assert "returned: went back to its last good state" in out


def test_the_heat_map_marks_who_was_left_out() -> None:
    shown = summary([PeerRounds("id-anna", "anna", {3: row(left("bert", "harmful"))})], ())

    texts = [text.get_text() for text in heat_map(shown).findobj(Text)]

    assert "✗" in texts
    assert "from whom (own weight framed, ✗ left out)" in texts
