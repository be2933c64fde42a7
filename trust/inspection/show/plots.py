"""Draws a summary as a heat map: a row for each peer that learns, a column for each peer that it may learn from."""

# matplotlib's keyword arguments have no types of their own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trust.files import write_output
from trust.inspection.drawing.shades import LEFT_OUT
from trust.inspection.reading.summary import Summary
from trust.names import short_names

_FRAME = "#c2410c"
"""Colour of the frame around a peer's own weight; the colour-blind too can tell it from every blue."""


def save_heat_map(shown: Summary, path: Path) -> None:
    """Write the heat map as a PNG of 150 pixels an inch; a failure leaves no partial file.

    Raises `UserMistake` where the file cannot be written.
    """
    figure = heat_map(shown)
    with warnings.catch_warnings():
        # matplotlib warns of letters that the font lacks and draws boxes; the user can do nothing about it.
        warnings.filterwarnings("ignore", "Glyph")
        # From a path, matplotlib would guess the format by the suffix; an open file keeps it to PNG.
        write_output(
            path,
            lambda file: figure.savefig(file, format="png", dpi=150, bbox_inches="tight", pad_inches=0.15),
        )


def heat_map(shown: Summary) -> Figure:
    """The heat map: weights as colours and numbers, own weights framed, a cell without weight blank."""
    rows, columns = len(shown.rows), len(shown.peers)
    few = columns <= 12
    # Inches and points: with many peers room for `.03` in small type, with few for `.25` in usual type.
    cell, size = (0.62, 9.0) if few else (0.34, 6.5)
    inches = (max(columns * cell + 2.6, 5.2), max(rows * cell + 2.2, 3.0))
    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    top = max((weight for weights in shown.matrix for weight in weights if 0 < weight < np.inf), default=1.0)
    # The square root keeps .01 and .03 apart beside a self weight of .5.
    image = axes.imshow(shown.matrix, cmap="Blues", norm=PowerNorm(0.5, vmin=0.0, vmax=top), aspect="equal")
    _print_weights(axes, shown, top, size)
    _part_groups(axes, shown)
    _label(axes, shown, size, widest=cell)
    axes.set_title(f"Trust, {_rounds(shown)}", fontsize=12, fontweight="bold", pad=10)
    # The bar stands beside the drawn square, and is at most four inches tall.
    height = min(1.0, 4 / (rows * cell))
    bar = axes.inset_axes((1.03, 1 - height, min(0.18 / (columns * cell), 0.06), height))
    figure.colorbar(image, cax=bar, label="weight").outline.set_visible(False)
    return figure


def _print_weights(axes: Axes, shown: Summary, top: float, size: float) -> None:
    for row, summary in enumerate(shown.rows):
        for column, weight in enumerate(summary.weights):
            own = summary.peer == shown.peers[column].peer
            if weight > 0:
                ink = "white" if weight > 0.36 * top else "#1f2937"
                bold = "bold" if own else "normal"
                text = "<.01" if weight < 0.005 else f"{min(weight, 9.99):.2f}".removeprefix("0")
                axes.text(
                    column, row, text, ha="center", va="center", fontsize=size, color=ink, fontweight=bold
                )
            elif shown.peers[column].peer in summary.left_out:
                axes.text(column, row, LEFT_OUT, ha="center", va="center", fontsize=size, color=_FRAME)
            if own:
                frame = Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=_FRAME, linewidth=1.6, zorder=3
                )
                axes.add_patch(frame)
                frame.set_clip_on(False)


def _part_groups(axes: Axes, shown: Summary) -> None:
    """Draw lines between clusters."""
    first = {group[0]: number for number, group in enumerate(shown.groups)}
    group_of = {peer: number for number, group in enumerate(shown.groups) for peer in group}
    for column, peer in enumerate(shown.peers):
        if first.get(peer.peer):
            axes.axvline(column - 0.5, color="#111827", linewidth=1.2)
    for number in range(1, len(shown.rows)):
        if group_of.get(shown.rows[number].peer) != group_of.get(shown.rows[number - 1].peer):
            axes.axhline(number - 0.5, color="#111827", linewidth=1.2)


def _label(axes: Axes, shown: Summary, size: float, *, widest: float) -> None:
    names = short_names([(peer.peer, peer.name) for peer in shown.peers], 14)
    name_of = {peer.peer: name for peer, name in zip(shown.peers, names, strict=True)}
    # A character is about 0.6 of the type size wide, and a point 1/72 inch.
    upright = max(map(len, names)) * 0.6 * size / 72 > 0.9 * widest
    # Names come from strangers: `parse_math` would take a dollar sign for mathematics.
    axes.set_xticks(range(len(names)), labels=list(names), rotation=90 if upright else 0, parse_math=False)
    axes.set_yticks(
        range(len(shown.rows)), labels=[name_of[row.peer] for row in shown.rows], parse_math=False
    )
    axes.tick_params(length=0, labelsize=size + 0.5, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown.rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#d1d5db", linewidth=0.6)
    axes.tick_params(which="minor", length=0, top=False, bottom=False)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_label_position("top")
    mark = f", {LEFT_OUT} left out" if any(row.left_out for row in shown.rows) else ""
    axes.set_xlabel(f"from whom (own weight framed{mark})", fontsize=10, labelpad=8)
    axes.set_ylabel("who learns", fontsize=10)


def _rounds(shown: Summary) -> str:
    rounds = sorted({row.round for row in shown.rows})
    if len(rounds) == 1:
        return f"round {rounds[0]}"
    return f"latest rounds, {rounds[0]} to {rounds[-1]}"
