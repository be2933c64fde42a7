"""What the page is written on: headings, paragraphs and tables, and short names for everybody who occurs."""

from __future__ import annotations

import math

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trust.inspection.explain.document import Explanation
from trust.names import short_names

_NAME_WIDTH = 16
_LEAST = 5e-5
_INDENT = 2


class ExplainPage:
    """`me` is the peer, `them` the neighbour, by short names; the same where the peer's own weight is asked for, which
    `own` says."""

    def __init__(self, told: Explanation, console: Console) -> None:
        self._console = console
        self.told = told
        peers = [(one.peer, one.name) for one in told.row]
        if all(one.peer != told.neighbour.peer for one in told.row):
            peers.append((told.neighbour.peer, told.neighbour.name))
        names = short_names(peers, _NAME_WIDTH)
        self.names = {peer: name for (peer, _), name in zip(peers, names, strict=True)}
        self.me, self.them = self.names[told.peer.peer], self.names[told.neighbour.peer]
        self.own = told.neighbour.peer == told.peer.peer

    def title(self, text: str) -> None:
        self._console.print(Text(text, style="bold"))

    def head(self, text: str) -> None:
        self._console.print()
        self.title(text)

    def say(self, text: str, *, style: str = "") -> None:
        for line in Text(text).wrap(self._console, self._console.width - _INDENT):
            self._console.print(Text(" " * _INDENT + line.plain.rstrip(), style=style))

    def put(self, table: Table) -> None:
        self._console.print(Padding(table, (0, 0, 0, _INDENT), expand=False))


def table(*heads: str) -> Table:
    """The first column is text, the others are numbers."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for number, head in enumerate(heads):
        made.add_column(Text(head), justify="right" if number else "left", no_wrap=True)
    return made


def loss_text(loss: float | None) -> str:
    return f"{loss:.4f}" if loss is not None and math.isfinite(loss) else "?"


def change_text(change: float) -> str:
    """With a sign; what would be zeros to four places is told by its magnitude."""
    if not math.isfinite(change):
        return "?"
    return f"{change:+.1e}" if 0 < abs(change) < _LEAST else f"{change:+.4f}"


def error_text(error: float | None) -> str:
    return f"± {change_text(error)[1:]}" if error is not None and math.isfinite(error) else "± ?"


def number_text(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.3g}"
