"""A summary for a terminal: the matrix in colour, and below it what each row did."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trust.inspection.summary import RowSummary, Summary
from trust.names import short_names

_NAME_WIDTH = 12
_CELL_WIDTH = 5
"""`*100`, and a space."""

_COLOURS = ((0, 34, 78), (87, 93, 109), (165, 156, 116), (253, 231, 55))
"""Four points of cividis (Nunez et al. 2018), which looks the same to the colour-blind."""

_GUARD_STYLES = {"taken": "green", "shrunk": "yellow", "refused": "red", "alone": "dim"}


def print_summary(shown: Summary, console: Console) -> None:
    """Never wider than the console: a matrix that is too wide comes in blocks of columns.

    Without a terminal, or with NO_COLOR, the same text without colour (rich sees to it).
    """
    names = short_names([(peer.peer, peer.name) for peer in shown.peers], _NAME_WIDTH)
    for table in _matrix_tables(shown, names, console.width):
        console.print(table)
        console.print()
    console.print(Text("weights in per cent; * own weight, · nothing", style="dim"))
    console.print()
    console.print(_rows_table(shown, names))
    console.print()
    console.print(
        Text("effective: number of collaborators, 1 / sum of squared weights, itself counted", style="dim")
    )
    console.print(Text("alone, merged: loss on the peer's trust split in nats per token", style="dim"))
    for file in shown.files:
        if file.torn_bytes:
            text = f"{file.path}: {file.torn_bytes} bytes not read, {file.why} (normal while writing)"
            console.print(Text(text, style="dim"))


def _matrix_tables(shown: Summary, names: tuple[str, ...], width: int) -> list[Table]:
    """Columns are headed by names where all fit beside each other, by numbers otherwise."""
    columns = len(names)
    longest = max(map(len, names))
    named = max(_CELL_WIDTH, longest + 1)
    label = max(longest, len("who learns"))
    if label + columns * named <= width:
        return [_block(shown, names, names, range(columns), (label, named))]
    digits = len(str(columns))
    labels = tuple(f"{number:>{digits}} {name}" for number, name in enumerate(names, start=1))
    heads = tuple(str(number + 1) for number in range(columns))
    label += digits + 1
    block = max(1, (width - label) // _CELL_WIDTH)
    parts = (range(begin, min(begin + block, columns)) for begin in range(0, columns, block))
    return [_block(shown, labels, heads, part, (label, _CELL_WIDTH)) for part in parts]


def _block(
    shown: Summary, labels: tuple[str, ...], heads: tuple[str, ...], columns: range, widths: tuple[int, int]
) -> Table:
    table = Table(box=None, padding=0, pad_edge=False, header_style="bold")
    table.add_column("who learns", no_wrap=True, width=widths[0])
    for column in columns:
        table.add_column(Text(heads[column]), justify="right", no_wrap=True, width=widths[1])
    number = {peer.peer: index for index, peer in enumerate(shown.peers)}
    top = max((weight for weights in shown.matrix for weight in weights if weight > 0), default=1.0)
    for row in shown.rows:
        index = number[row.peer]
        cells = (_cell(row.weights[column], top, widths[1], own=column == index) for column in columns)
        table.add_row(Text(labels[index], style="bold"), *cells)
    return table


def _cell(weight: float, top: float, width: int, *, own: bool) -> Text:
    if math.isnan(weight):
        return Text("?".rjust(width))
    mark = "*" if own else ""
    if not weight > 0:
        return Text((mark + "·").rjust(width), style="dim")
    text = mark + ("<1" if weight < 0.005 else f"{100 * weight:.0f}")
    red, green, blue = _colour(math.sqrt(min(weight / top, 1.0)))
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"
    filled = f"{'bold ' if own else ''}{ink} on rgb({red},{green},{blue})"
    # One blank on the left stays uncoloured and sets the cells apart.
    return Text(" ").append(text.rjust(width - 1), style=filled)


def _colour(share: float) -> tuple[int, int, int]:
    place = share * (len(_COLOURS) - 1)
    below = min(int(place), len(_COLOURS) - 2)
    part = place - below
    red, green, blue = (
        round(a + (b - a) * part) for a, b in zip(_COLOURS[below], _COLOURS[below + 1], strict=True)
    )
    return red, green, blue


def _rows_table(shown: Summary, names: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("peer", no_wrap=True)
    for head in ("round", "self", "effective", "alone", "merged", "change"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("guard", no_wrap=True)
    name_of = {peer.peer: name for peer, name in zip(shown.peers, names, strict=True)}
    for row in shown.rows:
        table.add_row(
            Text(name_of[row.peer], style="bold"),
            str(row.round),
            f"{row.self_weight:.2f}",
            f"{row.effective:.1f}",
            f"{row.trust_alone:.4f}",
            f"{row.trust_merged:.4f}",
            _change(row),
            Text(row.guard, style=_GUARD_STYLES.get(row.guard, "")),
        )
    return table


def _change(row: RowSummary) -> Text:
    change = row.trust_merged - row.trust_alone
    if not math.isfinite(change):
        return Text("?")
    return Text(f"{change:+.4f}", style="green" if change < 0 else "red" if change > 0 else "")
