"""Prints the curves of `trust history` in a terminal: drawn with characters, and below as numbers.

Each line carries its letter, so that lines can be told apart without colour.
"""

# plotext has no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trust.inspection.drawing.numbers import number_text
from trust.inspection.history.curves import CurveLine, Curves, lines_of, ticks
from trust.inspection.reading.naming import listed
from trust.inspection.reading.unread import unread_lines

PALETTE: Final = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Six colours of Okabe and Ito (2008), which the colour-blind can tell apart; their yellow is left out, because it
cannot be seen on white."""

GREY: Final = (128, 128, 128)
"""Colour of lines that are no single neighbour; legible on black and on white."""

_NARROWEST: Final = 40
"""Columns of a terminal below which nothing is drawn, because the numbers say more. Guess."""
_HEIGHT: Final = 16
_LOWER_HEIGHT: Final = 11


def print_curves(shown: Curves, console: Console) -> None:
    """Print the curves, never wider than the console; without a terminal, or with NO_COLOR, without colour."""
    lines = lines_of(shown)
    rounds = [row.round for row in shown.rounds]
    console.print(Text(_title(shown, lines), style="bold"))
    console.print()
    drawn = console.width >= _NARROWEST
    if drawn:
        console.print(_plot(rounds, lines, "round", console.width, _HEIGHT, scale=100))
    else:
        console.print(Text(f"(narrower than {_NARROWEST} columns: not drawn)", style="dim"))
    console.print()
    console.print(_numbers(lines, len(rounds)))
    if shown.about is not None and shown.peers:
        _print_distance(shown, rounds, console, drawn=drawn)
    console.print()
    for text in _remarks(shown):
        console.print(Text(text, style="dim"))


def _title(shown: Curves, lines: Sequence[CurveLine]) -> str:
    whom = {None: "each neighbour", shown.peer: "itself"}.get(shown.about) or lines[0].label
    return f"What {_cut(shown.name or shown.peer)} takes from {whom}, per cent"


def _numbers(lines: Sequence[CurveLine], count: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for head in ("first", "last", "mean", "rounds"):
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        mean = sum(line.weights) / len(line.weights)
        table.add_row(
            Text(line.mark, style=_style(line)),
            Text(line.label, style="bold"),
            *(number_text(100 * weight, ".1f") for weight in (line.weights[0], line.weights[-1], mean)),
            f"{line.seen} of {count}",
        )
    return table


def _print_distance(shown: Curves, rounds: Sequence[int], console: Console, *, drawn: bool) -> None:
    known = [
        (number, row.distances[0], row.errors[0] or 0.0)
        for number, row in zip(rounds, shown.rounds, strict=True)
        if row.distances[0] is not None and math.isfinite(row.distances[0])
    ]
    console.print()
    console.print(Text("Its distance to it", style="bold"))
    if not known:
        console.print(Text("not measured in these rounds"))
        return
    (_, first, first_error), (_, last, last_error) = known[0], known[-1]
    if drawn and any(distance for _, distance, _ in known):
        console.print()
        measured = {number: distance for number, distance, _ in known}
        line = CurveLine("d", "", tuple(measured.get(number, math.nan) for number in rounds), 0, 0)
        console.print(_plot(rounds, [line], "round", console.width, _LOWER_HEIGHT, scale=1))
        console.print()
    console.print(Text(f"first {_measured(first, first_error)}, last {_measured(last, last_error)}"))


def _measured(distance: float, error: float) -> str:
    return f"{number_text(distance, '.4f')} ± {number_text(error, '.4f')}"


def _remarks(shown: Curves) -> list[str]:
    guards = {
        "refused": "merge refused, all kept to itself, in round",
        "shrunk": "merge shrunk towards itself in round",
    }
    remarks = [
        f"{text} {listed(list(map(str, found)), 10)}"
        for guard, text in guards.items()
        if (found := [row.round for row in shown.rounds if row.guard == guard])
    ]
    if pushed := [row.round for row in shown.rounds if row.absorbed]:
        remarks.append(
            f"mass was pushed along edges, without a row, in round {listed(list(map(str, pushed)), 10)}"
        )
    return remarks + unread_lines(shown.files)


def _plot(
    rounds: Sequence[int], lines: Sequence[CurveLine], label: str, width: int, height: int, *, scale: float
) -> Text:
    """The drawing of `lines` over `rounds`. Values are multiplied by `scale`; those not finite are left out."""
    import plotext  # takes a quarter of a second to import, and only a drawing needs it

    plot = cast("Any", plotext)
    figure = plot.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    values = [scale * value for line in lines for value in line.weights if math.isfinite(value)]
    # Each line puts its letters at other rounds, so that letters do not hide each other where lines meet.
    every = max(1, math.ceil(len(rounds) / (width // 8)))
    letters: list[Any] = []
    # The line of the largest neighbour is drawn last, and so lies on top.
    for number, line in reversed(list(enumerate(lines))):
        points = [(x, scale * y) for x, y in zip(rounds, line.weights, strict=True) if math.isfinite(y)]
        if not points:
            continue
        x, y = map(list, zip(*points, strict=True))
        pixel = plot.pixel(_rgb(line))
        figure.draw(figure.signal(x, y, marker=plot.marker("braille", pixel)).lines(True))
        begin = round(number * every / len(lines))
        letters.append(figure.signal(x[begin::every], y[begin::every], marker=plot.marker(line.mark, pixel)))
    for letter in letters:
        figure.draw(letter)
    heights = ticks(min(values, default=0.0), max(values, default=1.0), parts=4)
    figure.ruler("y").lim(heights[0], heights[-1])
    figure.ruler("y").ticks(heights, [f"{tick:.6g}" for tick in heights])
    numbers = _round_ticks(rounds, width)
    figure.ruler("x").ticks(numbers, list(map(str, numbers)))
    figure.axes(False, axis="x", side="upper")
    figure.axes(False, axis="y", side="right")
    figure.label(label, "x")
    text = Text.from_ansi(figure.build().string(), no_wrap=True)
    text.rstrip()
    return text


def _round_ticks(rounds: Sequence[int], width: int) -> list[int]:
    first, last = rounds[0], rounds[-1]
    step = max(1, math.ceil(ticks(0, last - first, parts=max(2, width // 10))[1]))
    inner = (number for number in range(first + step - first % step, last, step) if number + step / 2 <= last)
    return sorted({first, *inner, last})


def _rgb(line: CurveLine) -> tuple[int, int, int]:
    return GREY if line.number is None else PALETTE[line.number]


def _style(line: CurveLine) -> str:
    red, green, blue = _rgb(line)
    return f"bold rgb({red},{green},{blue})"


def _cut(text: str) -> str:
    return text if len(text) <= 20 else text[:19] + "…"
