"""The status line above the matrix: order, rounds, age of the newest record, and the cell under the cursor."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from rich.style import Style

from trust.inspection.watch.panels.drawing import Scene
from trust.inspection.watch.panels.table import BOLD, PLAIN, Cell, CellTable
from trust.inspection.watch.sorting import Sort
from trust.record.history import PeerName

_FROZEN: Final = Style(bold=True, reverse=True)
_REAL_S: Final = 1e9
"""Unix time in the year 2001. Earlier times come from the clock of a simulation."""

_SORTED: Final[dict[Sort, str]] = {
    "name": "by name",
    "self": "by self weight",
    "loss": "by test loss",
    "cluster": "by cluster",
}


def status_line(
    scene: Scene,
    sort: Sort,
    cursor: tuple[PeerName, PeerName] | None,
    *,
    width: int,
    now: float,
    frozen: bool,
    read: float | None,
) -> CellTable:
    """The status line. `read` is the share of the files that was read so far, None once all is read.

    In a narrow terminal parts are left out from the right; the cell under the cursor is kept longest.
    """
    right = " " + _cell(scene, cursor)
    parts: list[Cell] = []
    if frozen:
        parts.append(Cell(" FROZEN ", _FROZEN))
    if read is not None:
        parts.append(Cell(f" reading {100 * read:.0f} %", BOLD))
    parts += [Cell(" " + text) for text in (_SORTED[sort], _rounds(scene), _ago(scene, now)) if text]
    shown: list[Cell] = []
    room = width - cell_len(right)
    for part in parts:
        comma = Cell("," + part.text, part.style) if shown and shown[-1].style == PLAIN else part
        if cell_len(comma.text) > room:
            break
        shown.append(comma)
        room -= cell_len(comma.text)
    cells = (*shown, Cell(" " * max(room, 0)), Cell(right, BOLD))
    return CellTable(tuple(cell_len(cell.text) for cell in cells), (), (cells,))


def _cell(scene: Scene, cursor: tuple[PeerName, PeerName] | None) -> str:
    if cursor is None:
        return ""
    learner, other = cursor
    latest = scene.board.peers[learner].latest
    if latest is None:
        weight = "?"
    elif learner == other:
        weight = f"{100 * latest.self_weight:.1f} %"
    else:
        seen = scene.board.peers[learner].seen(other)
        weight = f"{100 * seen.weight:.1f} %" if seen else "not seen"
    return f"{scene.name(learner)} ← {scene.name(other)} {weight} "


def _rounds(scene: Scene) -> str:
    numbers = [watched.latest.round for watched in scene.board.peers.values() if watched.latest]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"round {low}" if low == high else f"rounds {low} to {high}"


def _ago(scene: Scene, now: float) -> str:
    """Age of the newest record; empty for a simulation's clock and for times in the future."""
    age = now - scene.board.at_s
    if scene.board.at_s < _REAL_S or age < 0:
        return ""
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if age >= seconds:
            return f"newest {age / seconds:.0f} {unit} ago"
    return f"newest {age:.0f} s ago"
