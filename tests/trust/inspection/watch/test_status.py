"""The status line above the matrix."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from support.records import begun_of, round_of
from trust.inspection.watch.board import Board
from trust.inspection.watch.panels.drawing import Scene, scene
from trust.inspection.watch.panels.status import status_line
from trust.record.history import Entry, Traffic

NOON = 1_800_000_000.0


@pytest.fixture
def shown() -> Scene:
    board = Board()
    for record in (
        begun_of("a", name="anna"),
        begun_of("b", name="bert"),
        round_of("a", 3, {"b": 0.25}),
        round_of("b", 5, {}),
    ):
        board.feed([Entry(at_s=NOON, traffic=Traffic(sent={}, received={}), record=record)])
    return scene(board, "name")


def text(
    shown: Scene, width: int = 80, now: float = NOON + 7, *, frozen: bool = False, read: float | None = None
) -> str:
    line = status_line(shown, "name", ("a", "b"), width=width, now=now, frozen=frozen, read=read)
    assert sum(line.widths) == width
    return "".join(cell.text for cell in line.rows[0])


def test_the_line_shows_order_rounds_age_and_cell(shown: Scene) -> None:
    assert text(shown).split(",") == [" by name", " rounds 3 to 5", text(shown).split(",")[2]]
    assert " newest 7 s ago " in text(shown)
    assert text(shown).endswith(" anna ← bert 25.0 % ")
    assert " newest 2 min ago " in text(shown, now=NOON + 120)
    assert " newest 3 d ago " in text(shown, now=NOON + 3 * 86400 + 50)


def test_no_age_is_shown_for_a_time_in_the_future(shown: Scene) -> None:
    assert "ago" not in text(shown, now=NOON - 50)


def test_no_age_is_shown_for_simulated_time() -> None:
    board = Board()
    board.feed([Entry(at_s=5.0, traffic=Traffic(sent={}, received={}), record=begun_of("a"))])
    line = status_line(scene(board, "name"), "name", None, width=80, now=NOON, frozen=False, read=None)
    assert "".join(cell.text for cell in line.rows[0]).strip() == "by name"


def test_frozen_and_the_share_read_come_first(shown: Scene) -> None:
    assert text(shown, 60, frozen=True, read=0.4).startswith(" FROZEN  reading 40 % by name")


@pytest.mark.parametrize("width", range(30, 90, 5))
def test_the_cell_under_the_cursor_is_never_cut(shown: Scene, width: int) -> None:
    line = text(shown, width, frozen=True)
    assert line.endswith(" anna ← bert 25.0 % ")
    assert cell_len(line) == width
