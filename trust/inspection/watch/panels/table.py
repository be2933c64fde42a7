"""Cells of short text in rows: what is drawn, before anything knows of a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, overload

from rich.style import Style

PLAIN: Final = Style.null()
DIM: Final = Style(dim=True)
BOLD: Final = Style(bold=True)


@dataclass(frozen=True, slots=True)
class Cell:
    """`text` stands at the left of its column. Its first `gap` characters are blanks that the style leaves out."""

    text: str
    style: Style = PLAIN
    gap: int = 0


Row: TypeAlias = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class CellTable:
    """Each row has one cell per width, the head too unless it is empty. Column 0 stays when others scroll."""

    widths: tuple[int, ...]
    head: Row
    rows: Sequence[Row]


class LazyRows(Sequence[Row]):
    """Rows that are made when somebody looks at them: of a hundred peers some ten are in sight."""

    def __init__(self, count: int, make: Callable[[int], Row]) -> None:
        self._count = count
        self._make = make
        self._made: dict[int, Row] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(self._count)))
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]
