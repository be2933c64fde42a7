"""Widget that shows a `CellTable`: the head and the first column stay in place, the rest scrolls with a cursor.

Only lines whose text or style changed are drawn again. Textual's own `DataTable` was refused: it draws the whole table
on every change, which is four times the work here.
"""

from __future__ import annotations

from typing import Final

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from trust.inspection.watch.panels.table import Cell, CellTable, Row

_CURSOR: Final = Style(reverse=True, bold=True)
_EMPTY: Final = CellTable((0,), (), ())


class TableView(Widget):
    """A table on the screen. A cursor is (row, column); columns that scroll count from 1, and column 0 means the whole
    row. None is no cursor."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._table = _EMPTY
        self._cursor: tuple[int, int] | None = None
        self._row0, self._column0 = 0, 1

    def show(self, table: CellTable, cursor: tuple[int, int] | None = None) -> None:
        """Draw `table`, scrolled as little as is needed to show the cursor."""
        before = (self._table.widths, self._table.head, self._row0, self._column0, self._cursor)
        old, self._table, self._cursor = self._table, table, cursor
        self._scroll()
        if before != (table.widths, table.head, self._row0, self._column0, cursor):
            self.refresh()
            return
        changed = [y for y in range(self.size.height) if self._row(old, y) != self._row(table, y)]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def on_resize(self) -> None:
        self._scroll()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        table, row = self._table, self._row(self._table, y)
        if row is None:
            return Strip.blank(self.size.width, base)
        at = None if y < len(table.head[:1]) else self._row0 + y - len(table.head[:1])
        segments: list[Segment] = []
        for column in (0, *self._columns()):
            cell = row[column]
            text = self._corner(cell) if at is None and column == 0 else cell.text
            style = base + (_CURSOR if self._is_at(at, column) else cell.style)
            text = set_cell_size(text, table.widths[column])
            segments += (Segment(text[: cell.gap], base), Segment(text[cell.gap :], style))
        # `simplify` joins adjacent segments of one style, which halves the bytes sent over a slow line.
        return Strip(segments).adjust_cell_length(self.size.width, base).simplify()

    def _is_at(self, row: int | None, column: int) -> bool:
        """Whether to highlight a cell: the cursor's own, the head of its column, or the first cell of its row.

        `row` is None for the head.
        """
        if self._cursor is None:
            return False
        at_row, at_column = self._cursor
        if row is None:
            return column == at_column != 0
        return row == at_row and column in {0, at_column}

    def _corner(self, cell: Cell) -> str:
        """Text of the upper left cell: arrows toward rows and columns out of sight, otherwise the cell's own text."""
        rows, columns = self._rows_seen(), self._columns()
        arrows = (
            ("←", self._column0 > 1),
            ("↑", self._row0 > 0),
            ("↓", self._row0 + rows < len(self._table.rows)),
            ("→", bool(columns) and columns[-1] + 1 < len(self._table.widths)),
        )
        more = "".join(arrow for arrow, there in arrows if there)
        return f"more {more}"[-max(self._table.widths[0], 1) :] if more else cell.text

    def _row(self, table: CellTable, y: int) -> Row | None:
        if table.head:
            if y == 0:
                return table.head
            y -= 1
        index = self._row0 + y
        return table.rows[index] if index < len(table.rows) else None

    def _rows_seen(self) -> int:
        return max(1, self.size.height - bool(self._table.head))

    def _columns(self) -> range:
        """The scrolling columns in sight; a column that does not fit completely is not shown."""
        widths, room = self._table.widths, self.size.width - self._table.widths[0]
        end = self._column0
        while end < len(widths) and widths[end] <= room:
            room -= widths[end]
            end += 1
        return range(self._column0, end)

    def _scroll(self) -> None:
        rows, widths = self._rows_seen(), self._table.widths
        row, column = self._cursor or (0, 0)
        self._row0 = min(max(self._row0, row - rows + 1), row)
        self._row0 = max(0, min(self._row0, len(self._table.rows) - rows))
        self._column0 = max(1, min(self._column0, column or 1, len(widths) - 1))
        while column and column not in self._columns() and self._column0 < column:
            self._column0 += 1
        # Scroll back as long as the room on the right holds another column.
        while self._column0 > 1 and sum(widths[self._column0 - 1 :]) <= self.size.width - widths[0]:
            self._column0 -= 1
