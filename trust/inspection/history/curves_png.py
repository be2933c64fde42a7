"""Draws the curves of `trust history` as a PNG picture."""

# matplotlib's keyword arguments have no types of their own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
import warnings
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from trust.inspection.history.curves import CurveLine, Curves, lines_of
from trust.inspection.history.curves_text import PALETTE

_INK = "#1f2937"
_GREY = "#9ca3af"


def curves_png(shown: Curves) -> bytes:
    """The bytes of a PNG of 150 pixels an inch."""
    out = BytesIO()
    with warnings.catch_warnings():
        # matplotlib warns of letters that the font lacks and draws boxes; the user can do nothing about it.
        warnings.filterwarnings("ignore", "Glyph")
        _figure(shown).savefig(out, format="png", dpi=150, bbox_inches="tight", pad_inches=0.15)
    return out.getvalue()


def _figure(shown: Curves) -> Figure:
    lines = lines_of(shown)
    with_distance = shown.about is not None and bool(shown.peers)
    figure = Figure(figsize=(7.5, 5.6 if with_distance else 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    heights = {"height_ratios": [3, 2]} if with_distance else None
    panels = figure.subplots(2 if with_distance else 1, 1, sharex=True, squeeze=False, gridspec_kw=heights)
    upper, lower = panels[0, 0], panels[-1, 0]
    _draw_weights(upper, shown, lines)
    if with_distance:
        _draw_distance(lower, shown)
    for axes in panels[:, 0]:
        _plain(axes)
    lower.set_xlabel("round")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    whom = {None: "each neighbour", shown.peer: "itself"}.get(shown.about) or lines[0].label
    # Names come from strangers: `parse_math` would take a dollar sign for mathematics.
    upper.set_title(
        f"What {(shown.name or shown.peer)[:40]} takes from {whom}",
        fontsize=12,
        fontweight="bold",
        parse_math=False,
    )
    return figure


def _draw_weights(axes: Axes, shown: Curves, lines: tuple[CurveLine, ...]) -> None:
    rounds = [row.round for row in shown.rounds]
    mark = "o" if len(rounds) <= 30 else ""
    drawn: list[Line2D] = []
    for line in lines:
        colour = tuple(part / 255 for part in PALETTE[line.number]) if line.number is not None else _INK
        style = "-" if line.number is not None else "--" if line.mark == "*" else ":"
        drawn += axes.plot(
            rounds, line.weights, color=colour, linestyle=style, linewidth=1.8, marker=mark, markersize=3.5
        )
    _mark_refusals(axes, shown)
    top = max((weight for line in lines for weight in line.weights if math.isfinite(weight)), default=1.0)
    axes.set_ylim(0, 1.06 * top if top > 0 else 1.0)
    axes.set_ylabel("weight")
    if len(lines) > 1:
        # Labels are set after the legend is made: matplotlib leaves out one that begins with an underscore.
        legend = axes.legend(
            drawn, ["."] * len(drawn), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False
        )
        for text, line in zip(legend.get_texts(), lines, strict=True):
            text.set_parse_math(False)
            text.set_text(line.label)


def _mark_refusals(axes: Axes, shown: Curves) -> None:
    """Shade the rounds whose merge the guard refused, which explains why the peer kept everything there."""
    for row in shown.rounds:
        if row.guard == "refused":
            axes.axvspan(row.round - 0.5, row.round + 0.5, color="#fee2e2", linewidth=0, zorder=0)


def _draw_distance(axes: Axes, shown: Curves) -> None:
    points = [
        (row.round, row.distances[0], row.errors[0] or 0.0)
        for row in shown.rounds
        if row.distances[0] is not None and math.isfinite(row.distances[0])
    ]
    axes.set_ylabel("distance ± std. error")
    if not points:
        axes.text(
            0.5, 0.5, "not measured in these rounds", transform=axes.transAxes, ha="center", color=_GREY
        )
        return
    x, y, error = zip(*points, strict=True)
    axes.errorbar(x, y, yerr=error, color=_INK, linewidth=1.6, marker="o", markersize=3.5, capsize=2.5)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
