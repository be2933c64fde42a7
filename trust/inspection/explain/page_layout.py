"""Output of the page of `trust explain`: headings, paragraphs and tables, and short names of all peers on it."""

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
"""Change below which four decimals would show only zeros."""
_INDENT = 2


class ExplainPage:
    """The page of one explanation, printed to a console.

    `me` and `them` are the short names of the peer and the neighbour; `own` says that both are the same peer.
    """

    def __init__(self, answer: Explanation, console: Console) -> None:
        self._console = console
        self.answer = answer
        peers = [(share.peer, share.name) for share in answer.row]
        if all(share.peer != answer.neighbour.peer for share in answer.row):
            peers.append((answer.neighbour.peer, answer.neighbour.name))
        names = short_names(peers, _NAME_WIDTH)
        self.names = {peer: name for (peer, _), name in zip(peers, names, strict=True)}
        self.me, self.them = self.names[answer.peer.peer], self.names[answer.neighbour.peer]
        self.own = answer.neighbour.peer == answer.peer.peer

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
    """An empty table whose first column holds text and whose other columns hold numbers."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for number, head in enumerate(heads):
        made.add_column(Text(head), justify="right" if number else "left", no_wrap=True)
    return made


def loss_text(loss: float | None) -> str:
    return f"{loss:.4f}" if loss is not None and math.isfinite(loss) else "?"


def change_text(change: float) -> str:
    """A change with its sign; in scientific notation where four decimals would show only zeros."""
    if not math.isfinite(change):
        return "?"
    return f"{change:+.1e}" if 0 < abs(change) < _LEAST else f"{change:+.4f}"


def error_text(error: float | None) -> str:
    return f"± {change_text(error)[1:]}" if error is not None and math.isfinite(error) else "± ?"


def number_text(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.3g}"
