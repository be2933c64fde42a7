"""Tables as rows of styled cells, independent of the screen that shows them."""

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
    """Text with a style, aligned to the left of its column. The style leaves out the first `gap` characters, blanks."""

    text: str
    style: Style = PLAIN
    gap: int = 0


Row: TypeAlias = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class CellTable:
    """A table: each row has one cell per width, and so has the head unless it is empty. Column 0 does not scroll."""

    widths: tuple[int, ...]
    head: Row
    rows: Sequence[Row]


class LazyRows(Sequence[Row]):
    """Rows that are made on first access: of a hundred peers only some ten rows are in sight."""

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
            return tuple(self[number] for number in range(*index.indices(self._count)))
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]
