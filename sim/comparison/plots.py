"""Plots of a comparison: the trust rows of each method, and perplexity by round and by tokens trained on.

Axes: N peers.
"""

# matplotlib's keyword arguments have no types of their own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sim.comparison.targets import so_far
from sim.experiments.measuring.metrics import RunMetrics
from trust.files import write_output
from trust.rows.evidence import F64

_INK: Final = "#1f2937"
_COLOURS: Final = ("#6b7280", "#c2410c", "#111827", "#1d4ed8", "#0f766e", "#a21caf", "#b45309", "#4d7c0f")
"""Colours of the curves. Names at the ends of the lines tell them apart in print and for the colour-blind too."""
_PRINTED: Final = 12
"""Most peers for which a cell has room for its weight as a number."""


def draw(runs: Sequence[RunMetrics], out: Path) -> tuple[str, ...]:
    """Write all plots of a comparison into a folder. Returns the names of those over all methods."""
    by_method: dict[str, list[RunMetrics]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    save_matrices(by_method, out / "rows.png")
    save_curves(by_method, out / "curves.png")
    save_progress(by_method, out / "progress.png")
    for method, of_method in by_method.items():
        save_pair(method, of_method, out / f"rows-{method.replace('*', 'x')}.png")
    return "rows.png", "curves.png", "progress.png"


def save_matrices(runs: Mapping[str, Sequence[RunMetrics]], path: Path) -> None:
    """Plot the last rows of each method, as means over seeds, a panel each, the theoretical rows first."""
    oracle = np.mean([run.oracle for of_method in runs.values() for run in of_method], axis=0)
    panels = {"theoretical": oracle} | {
        method: np.mean([run.rows_NN for run in of_method], axis=0)
        for method, of_method in runs.items()
        if method != "theoretical"
    }
    save_panels(panels, _labels(runs), path)


def save_pair(method: str, runs: Sequence[RunMetrics], path: Path) -> None:
    """Plot a method's rows, as means over seeds, beside the theoretical rows."""
    panels = {
        method: np.mean([run.rows_NN for run in runs], axis=0),
        "theoretical": np.mean([run.oracle for run in runs], axis=0),
    }
    save_panels(panels, _labels({method: runs}), path)


def save_panels(panels: Mapping[str, F64], labels: Sequence[str], path: Path) -> None:
    """Plot matrices beside each other on one colour scale. Peers are sorted by the category in their label."""
    order = sorted(range(len(labels)), key=lambda i: (labels[i].partition(" ")[2], i))
    columns = next(n for n in range(1, 5) if len(panels) <= n or (n > 1 and len(panels) <= n * n) or n == 4)
    rows = -(-len(panels) // columns)
    side = max(3.4, 0.34 * len(labels) + 0.9)
    figure = Figure(figsize=(columns * side + 0.6, rows * (side + 0.35)), layout="constrained")
    FigureCanvasAgg(figure)
    top = max(float(matrix_NN.max()) for matrix_NN in panels.values())
    norm = PowerNorm(0.5, vmin=0.0, vmax=top)
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, (axes, (name, matrix_NN)) in enumerate(zip(grid, panels.items(), strict=False)):
        ordered_NN = matrix_NN[np.ix_(order, order)]
        axes.imshow(ordered_NN, cmap="Blues", norm=norm, aspect="equal")
        axes.set_title(name, fontsize=11, fontweight="bold", color=_INK)
        _ticks(axes, [labels[i] for i in order], left=place % columns == 0)
        if len(labels) <= _PRINTED:
            _print_weights(axes, ordered_NN, top)
        if place == 0:
            axes.set_ylabel("who learns", fontsize=9)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    scale = ScalarMappable(norm, "Blues")
    figure.colorbar(scale, ax=grid, label="weight", shrink=0.7, aspect=30).outline.set_visible(False)
    _save(figure, path)


def save_curves(runs: Mapping[str, Sequence[RunMetrics]], path: Path) -> None:
    """Plot mean test perplexity by round: after the merge as a line, before it dashed; the shade is one standard
    deviation over seeds."""
    figure = Figure(figsize=(8.2, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends: list[tuple[float, str, str]] = []
    for place, (method, of_method) in enumerate(runs.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        numbers = sorted({point.round for run in of_method for point in run.curve})
        if not numbers:
            continue
        after, deviation = _over_seeds(of_method, numbers, "after")
        before, _ = _over_seeds(of_method, numbers, "before")
        shown = [number + 1 for number in numbers]
        axes.plot(shown, after, color=colour, linewidth=2, marker="o", markersize=4)
        if not np.allclose(before, after):
            axes.plot(shown, before, color=colour, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
        axes.fill_between(shown, after - deviation, after + deviation, color=colour, alpha=0.12, linewidth=0)
        ends.append((float(after[-1]), method, colour))
    axes.set_xlabel("rounds done")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _perplexity_axis(
        axes, "line: after the merge; dashed: before it; shade: one standard deviation over seeds"
    )
    _label_ends(figure, axes, ends)
    _save(figure, path)


def save_progress(runs: Mapping[str, Sequence[RunMetrics]], path: Path) -> None:
    """Plot the mean test perplexity of each peer's best state so far, chosen by its trust split, by the tokens that a
    peer has trained on; the axis at the top counts passes over its text."""
    figure = Figure(figsize=(8.2, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends: list[tuple[float, str, str]] = []
    for place, (method, of_method) in enumerate(runs.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        by_round: dict[int, list[tuple[int, float]]] = {}
        for point, best in (one for run in of_method for peer in run.peers for one in so_far(peer)):
            by_round.setdefault(point.round, []).append((point.tokens, best))
        if not by_round:
            continue
        tokens, perplexities = zip(
            *(
                tuple(map(statistics.fmean, zip(*by_round[number], strict=True)))
                for number in sorted(by_round)
            ),
            strict=True,
        )
        axes.plot(tokens, perplexities, color=colour, linewidth=2, marker="o", markersize=4)
        ends.append((float(perplexities[-1]), method, colour))
    text = statistics.fmean(
        peer.targets for of_method in runs.values() for run in of_method for peer in run.peers
    )
    axes.set_xlabel("tokens that a peer trained on")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    passes = axes.secondary_xaxis("top", functions=(_scaled(1 / text), _scaled(text)))
    passes.set_xlabel("passes over its text", fontsize=9)
    _perplexity_axis(axes, "the best state so far by each peer's own trust split")
    _label_ends(figure, axes, ends)
    _save(figure, path)


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda values: values * factor


def _perplexity_axis(axes: Axes, about: str) -> None:
    axes.set_yscale("log")
    axes.set_ylabel("test perplexity, mean over peers")
    axes.set_title(about, fontsize=9, color="#4b5563", loc="left")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.grid(color="#e5e7eb", linewidth=0.7, which="both")
    axes.spines[["top", "right"]].set_visible(False)


def _over_seeds(runs: Sequence[RunMetrics], numbers: Iterable[int], which: str) -> tuple[F64, F64]:
    """Mean and standard deviation for each round, over the runs that reached it."""
    means: list[float] = []
    deviations: list[float] = []
    for number in numbers:
        values = [
            float(getattr(point, which)) for run in runs for point in run.curve if point.round == number
        ]
        means.append(statistics.fmean(values))
        deviations.append(statistics.stdev(values) if len(values) > 1 else 0.0)
    return np.array(means), np.array(deviations)


def _label_ends(figure: Figure, axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write the methods' names at the right ends of the lines, moved apart where they would overlap."""
    figure.draw_without_rendering()
    to_pixels, to_data = axes.transData, axes.transData.inverted()
    gap = 13 * figure.dpi / 72
    right = axes.get_xlim()[1]
    at = -float("inf")
    for value, method, colour in sorted(ends):
        at = max(at + gap, float(to_pixels.transform((right, value))[1]))
        height = float(to_data.transform((0, at))[1])
        axes.annotate(
            f"{method} {value:.1f}",
            (right, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )


def _print_weights(axes: Axes, matrix_NN: F64, top: float) -> None:
    for (row, column), weight in np.ndenumerate(matrix_NN):
        if weight >= 0.005:
            ink = "white" if weight > 0.36 * top else _INK
            text = f"{weight:.2f}".removeprefix("0")
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)


def _ticks(axes: Axes, labels: Sequence[str], *, left: bool) -> None:
    few = len(labels) <= 40
    places = range(len(labels) if few else 0)
    axes.set_xticks(places, labels=list(labels) if few else [], rotation=90, parse_math=False)
    axes.set_yticks(places, labels=list(labels) if few and left else [""] * len(places), parse_math=False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#d1d5db", linewidth=0.5 if few else 0)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


def _labels(runs: Mapping[str, Sequence[RunMetrics]]) -> list[str]:
    """A label for each peer: its number, its largest category where seeds agree on it, and how its device differs."""
    of_all = [run for of_method in runs.values() for run in of_method]
    names: list[str] = []
    for place, one in enumerate(of_all[0].peers):
        kinds = {run.peers[place].category for run in of_all}
        number = one.name.removeprefix("peer-")
        kind = kinds.pop() if len(kinds) == 1 else ""
        names.append(" ".join(filter(None, (number, kind, one.device))))
    return names


def _save(figure: Figure, path: Path) -> None:
    # Given a path, matplotlib would take the format from its ending.
    write_output(
        path, lambda file: figure.savefig(file, format="png", dpi=150, bbox_inches="tight", pad_inches=0.15)
    )
