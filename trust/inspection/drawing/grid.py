"""Tables that are never wider than the terminal: columns that do not fit continue in further blocks below.

Drawn as rich segments: a matrix of 100 peers has 10,000 cells, for which rich's own tables take a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

Cell: TypeAlias = tuple[str, Style | None]

BOLD: Final = Style(bold=True)
DIM: Final = Style(dim=True)

_RULE: Final = " │"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a `Grid`. `gap` blanks stand before it; if `ruled`, also a vertical rule, except at the left edge of
    a block."""

    head: str
    cells: Sequence[Cell]
    gap: int = 2
    right: bool = True
    ruled: bool = False

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.head, *(text for text, _ in self.cells))))


class Grid:
    """A rich renderable of columns. The columns of one of `parts` stay together where they fit; the column `label` is
    repeated before every block.

    A horizontal rule is drawn above each row number in `ruled`.
    """

    def __init__(
        self, label: Column, parts: Sequence[Sequence[Column]], *, ruled: Collection[int] = ()
    ) -> None:
        self._label = label
        self._parts = parts
        self._ruled = ruled

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        for number, block in enumerate(self._blocks(options.max_width)):
            if number:
                yield Segment.line()
            yield from self._drawn(block)

    def _blocks(self, width: int) -> Iterator[list[tuple[Column, int]]]:
        """Blocks of (column, its width). A block has at least one column, even if that is wider than `width`."""
        room = width - self._label.width
        whole = [[(column, column.width) for column in part] for part in self._parts]
        pieces = (
            piece
            for part in whole
            for piece in ([part] if _needed(part, first=True) <= room else [[column] for column in part])
        )
        block: list[tuple[Column, int]] = []
        taken = 0
        for piece in pieces:
            needed = _needed(piece, first=not block)
            if block and taken + needed > room:
                yield block
                block, taken, needed = [], 0, _needed(piece, first=True)
            block.extend(piece)
            taken += needed
        if block:
            yield block

    def _drawn(self, block: Sequence[tuple[Column, int]]) -> Iterator[Segment]:
        label = self._label.width
        yield from self._line((self._label.head, BOLD), [(column.head, BOLD) for column, _ in block], block)
        for row, cell in enumerate(self._label.cells):
            if row in self._ruled:
                rules = "".join(
                    "─┼" * (column.ruled and number > 0) + "─" * (column.gap + width)
                    for number, (column, width) in enumerate(block)
                )
                yield Segment("─" * label + rules, DIM)
                yield Segment.line()
            yield from self._line(cell, [column.cells[row] for column, _ in block], block)

    def _line(
        self, label: Cell, cells: Sequence[Cell], block: Sequence[tuple[Column, int]]
    ) -> Iterator[Segment]:
        yield Segment(set_cell_size(label[0], self._label.width), label[1])
        for number, ((text, style), (column, width)) in enumerate(zip(cells, block, strict=True)):
            if column.ruled and number > 0:
                yield Segment(_RULE, DIM)
            blanks = " " * (width - cell_len(text))
            yield Segment(" " * column.gap + blanks if column.right else " " * column.gap)
            yield Segment(text, style)
            if not column.right and number < len(block) - 1:
                yield Segment(blanks)
        yield Segment.line()


def _needed(part: Sequence[tuple[Column, int]], *, first: bool) -> int:
    rules = sum(column.ruled for column, _ in part[1 if first else 0 :])
    return sum(column.gap + width for column, width in part) + len(_RULE) * rules
