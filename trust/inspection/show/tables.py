"""Prints a summary in a terminal: the matrix in colour, and below it the losses and guard outcome of each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from trust.inspection.drawing.grid import BOLD, DIM, Cell, Column, Grid
from trust.inspection.drawing.numbers import number_text
from trust.inspection.drawing.shades import (
    LEFT_OUT,
    RELATIONS,
    RELATIONS_ABOUT,
    outcome,
    weight_style,
    weight_text,
)
from trust.inspection.reading.summary import PeerBytes, RowSummary, Summary
from trust.inspection.reading.traffic import bytes_text
from trust.inspection.reading.unread import unread_lines
from trust.inspection.show.costs import ABOUT, costs_grid
from trust.inspection.show.left_out import leaves_out, reasons
from trust.names import short_names

_NAME_WIDTH: Final = 12
_CELL_WIDTH: Final = 4
"""Width of a cell that holds `*100`."""

_BLOCKED: Final = "†"

_BETTER: Final = Style(color="green")
_WORSE: Final = Style(color="red")


def print_summary(shown: Summary, console: Console) -> None:
    """Print the summary, never wider than the console: wide tables continue in further blocks of columns.

    Without a terminal, or with NO_COLOR, rich prints the same text without colour.
    """
    names = short_names([(peer.peer, peer.name) for peer in shown.peers], _NAME_WIDTH)
    _print(console, _matrix(shown, names, console.width))
    _say(console, *_about_cells(shown), *_about_order(shown))
    _print(console, _rows(shown, names))
    _say(console, *_about_rows(shown))
    if leaves_out(shown):
        _say(console, *reasons(shown, names))
    if shown.bytes is not None:
        _print(
            console, _bytes(shown.bytes, dict(zip((peer.peer for peer in shown.peers), names, strict=True)))
        )
        _say(console, "bytes since a peer's first start; ↑ sent, ↓ received")
    if shown.costs:
        _print(
            console,
            costs_grid(shown.costs, dict(zip((peer.peer for peer in shown.peers), names, strict=True))),
        )
        _say(console, *ABOUT)
    elif shown.costs is not None:
        _say(console, "no round here has a cost: simulated without devices.watts, or of an earlier version")
    for one in shown.blocked:
        why = f": {one.why}" if one.why else ""
        _print_dim(console, f"{one.name or one.peer} is blocked by {one.by}{why}")
    for line in unread_lines(shown.files):
        _print_dim(console, line)


def _print(console: Console, grid: Grid) -> None:
    # A grid keeps to the width by itself; cropping would go through all cells once more.
    console.print(grid, crop=False)
    console.print()


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        _print_dim(console, line)
    console.print()


def _print_dim(console: Console, line: str) -> None:
    """Print a dim line, wrapped here: the console's own wrapping leaves a blank at the end of a line."""
    for part in Text(line, style=DIM).wrap(console, console.width):
        part.rstrip()
        console.print(part)


def _matrix(shown: Summary, names: Sequence[str], width: int) -> Grid:
    """The trust matrix. Column heads are names where all fit side by side, otherwise numbers."""
    first = _first_of_groups(shown)
    rules = 2 * max(len(first) - 1, 0)
    blocked = {one.peer for one in shown.blocked}
    marks = [_BLOCKED if peer.peer in blocked else "" for peer in shown.peers]
    heads, labels = tuple(map(str.__add__, names, marks)), names
    named = sum(1 + max(_CELL_WIDTH, cell_len(head)) for head in heads)
    label = max(cell_len("who learns"), *map(cell_len, names))
    if label + named + rules > width:
        digits = len(str(len(names)))
        heads = tuple(f"{number}{mark}" for number, mark in enumerate(marks, start=1))
        labels = tuple(f"{number:>{digits}} {name}" for number, name in enumerate(names, start=1))
    place = {peer.peer: index for index, peer in enumerate(shown.peers)}
    top = max(
        (weight for weights in shown.matrix for weight in weights if 0 < weight < math.inf), default=1.0
    )
    columns = [
        Column(
            head=head,
            cells=[
                _weight(shown, row, column, place[row.peer], top, max(_CELL_WIDTH, cell_len(head)))
                for row in shown.rows
            ],
            gap=1,
            ruled=shown.peers[column].peer in first,
        )
        for column, head in enumerate(heads)
    ]
    learners = Column("who learns", [(labels[place[row.peer]], BOLD) for row in shown.rows])
    group_of = {peer: number for number, group in enumerate(shown.groups) for peer in group}
    kinds = [group_of.get(row.peer) for row in shown.rows]
    ruled = {number for number in range(1, len(kinds)) if kinds[number] != kinds[number - 1]}
    return Grid(learners, [[column] for column in columns], ruled=ruled)


def _first_of_groups(shown: Summary) -> set[str]:
    return {group[0] for group in shown.groups}


def _weight(shown: Summary, row: RowSummary, column: int, own: int, top: float, width: int) -> Cell:
    peer = shown.peers[column].peer
    weight, left_out = row.weights[column], peer in row.left_out
    if peer in row.others and not weight > 0:
        return RELATIONS[row.others[peer]].rjust(width), DIM
    # The history of a stranger may hold a weight of a thousand; it must not widen the column.
    text = weight_text(min(weight, 9.99), own=column == own, left_out=left_out).rjust(width)
    return text, weight_style(weight, top, own=column == own, left_out=left_out)


def _about_cells(shown: Summary) -> Iterable[str]:
    mark = f", {LEFT_OUT} tried and left out" if leaves_out(shown) else ""
    yield f"weights in per cent; * own weight, · nothing{mark}"
    relations = {relation for row in shown.rows for relation in row.others.values()}
    for relation, about in RELATIONS_ABOUT.items():
        if relation in relations:
            yield f"{RELATIONS[relation]} {about}"
    columns = {peer.peer for peer in shown.peers}
    if any(one.peer in columns for one in shown.blocked):
        yield f"{_BLOCKED} blocked, see below"


def _about_order(shown: Summary) -> Iterable[str]:
    match shown.order:
        case "cluster" if len(shown.groups) > 1:
            yield f"{len(shown.groups)} clusters: who takes most from each other stands together"
        case "cluster":
            yield "by clusters, none of which stands apart"
        case "self":
            yield "by own weight, the greatest first"
        case "effective":
            yield "by effective number of collaborators, the greatest first"
        case _:
            pass


def _rows(shown: Summary, names: Sequence[str]) -> Grid:
    name_of = {peer.peer: name for peer, name in zip(shown.peers, names, strict=True)}
    column = partial(_column, shown.rows)
    parts = [
        [
            Column("round", [(str(row.round), None) for row in shown.rows] + _foot(shown.rows, "")),
            column("self", lambda row: row.self_weight, ".2f"),
            column("effective", lambda row: row.effective, ".1f"),
            column("entropy", lambda row: row.entropy, ".2f"),
            Column(
                "guard",
                [outcome(row.guard, settled=row.settled) for row in shown.rows] + _foot(shown.rows, ""),
                right=False,
            ),
            *([column("left out", lambda row: len(row.left_out), ".0f")] if leaves_out(shown) else []),
        ],
        [
            column("alone", lambda row: row.trust_alone, ".4f"),
            column("merged", lambda row: row.trust_merged, ".4f"),
            column("change", lambda row: row.trust_merged - row.trust_alone, "+.4f", signed=True),
            *([column("forgotten", lambda row: row.forgotten, ".4f")] if _forgets(shown.rows) else []),
        ],
    ]
    if shown.against:
        parts.append(
            [
                column("KL", lambda row: row.divergence, ".4f"),
                column("Spearman", lambda row: row.correlation, ".2f"),
            ]
        )
    label = Column("peer", [(name_of[row.peer], BOLD) for row in shown.rows] + _foot(shown.rows, "mean"))
    return Grid(label, parts)


def _forgets(rows: Sequence[RowSummary]) -> bool:
    return any(row.forgotten is not None for row in rows)


def _column(
    rows: Sequence[RowSummary],
    head: str,
    value: Callable[[RowSummary], float | None],
    form: str,
    *,
    signed: bool = False,
) -> Column:
    values = [math.nan if (number := value(row)) is None else number for row in rows]
    known = [number for number in values if math.isfinite(number)]
    mean = number_text(math.fsum(known) / len(known), form) if known else "?"
    return Column(
        head,
        [(number_text(number, form), _sign(number) if signed else None) for number in values]
        + _foot(rows, mean),
    )


def _foot(rows: Sequence[RowSummary], text: str) -> list[Cell]:
    """The cell below a column; none below a single row, which needs no mean."""
    return [(text, DIM)] if len(rows) > 1 else []


def _sign(change: float) -> Style | None:
    return _BETTER if change < 0 else _WORSE if change > 0 else None


def _about_rows(shown: Summary) -> Iterable[str]:
    """Explanations of the table of rows. Each fits 80 columns, except for a long path."""
    if math.isfinite(shown.asymmetry):
        yield f"asymmetry of the matrix: {shown.asymmetry:.2f} (0 where trust is mutual, 1 where it is one-sided)"
    yield "effective: number of collaborators, 1 / sum of squared weights, itself counted"
    yield "entropy in nats"
    if any(row.guard == "returned" for row in shown.rows):
        yield "returned: went back to its last good state, because training alone would have left it better off"
    if any(row.guard == "recalled" for row in shown.rows):
        yield "recalled: went back to its best state, because it had gained nothing for some rounds"
    if any(row.settled for row in shown.rows):
        yield "settled: trains no more, at its best state, until a neighbour's news helps or its text grows"
    for row in shown.rows:
        if row.asks_in:
            again = f"asks again after {row.asks_in} round{'s' if row.asks_in > 1 else ''}"
            yield f"nobody here helps {row.name}: alone at a loss of {row.trust_merged:.4g}, {again}"
    yield "alone, merged: loss on the peer's trust split in nats per token"
    if _forgets(shown.rows):
        yield "forgotten: by how much it reads the public text worse than at its best, in nats"
    if against := shown.against:
        yield f"KL of the known row and this one in nats, {100 * against.floor:.0f} % of the uniform row in both"
        yield "Spearman without the own weight"
        yield f"Frobenius norm of the difference: {against.frobenius:.4f}, from {against.path}"


def _bytes(peers: Sequence[PeerBytes], name_of: dict[str, str]) -> Grid:
    kinds = sorted({kind for peer in peers for kind in (*peer.sent, *peer.received)})
    parts = [
        [
            _amounts(f"{kind} ↑", [peer.sent.get(kind, 0) for peer in peers]),
            _amounts(f"{kind} ↓", [peer.received.get(kind, 0) for peer in peers]),
        ]
        for kind in kinds
    ]
    parts.append(
        [
            _amounts("all ↑", [sum(peer.sent.values()) for peer in peers]),
            _amounts("all ↓", [sum(peer.received.values()) for peer in peers]),
        ]
    )
    total: list[Cell] = [("total", DIM)] if len(peers) > 1 else []
    return Grid(Column("peer", [(name_of[peer.peer], BOLD) for peer in peers] + total), parts)


def _amounts(head: str, counts: Sequence[int]) -> Column:
    cells: list[Cell] = [(bytes_text(count), None if count else DIM) for count in counts]
    return Column(head, [*cells, (bytes_text(sum(counts)), DIM)] if len(counts) > 1 else cells)
