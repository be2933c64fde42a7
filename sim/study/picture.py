"""The picture of a study: what a loss costs in seconds, beside tokens, bytes and joules, with the front of each
fleet."""

# matplotlib's keyword arguments have no types of their own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.study.course import CellCourse, Spent, spent_to
from sim.study.fronts import front
from sim.study.settings import FLEETS, Setting

_COLOURS: Final = ("#111827", "#b91c1c", "#1d4ed8", "#d97706", "#047857", "#7c3aed", "#0e7490")
_SECOND: Final = {"tokens": 1e3, "bytes": 1e6, "joules": 1e3}
_LABELS: Final = {"tokens": "thousand tokens", "bytes": "MB sent by all", "joules": "virtual kJ"}


def draw(cells: Mapping[Setting, CellCourse], target: float, path: Path) -> None:
    """A panel for each objective beside seconds: a dot a cell, a line through what nothing beats in the two."""
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(1, len(_SECOND), squeeze=False).flat)
    for fleet, colour in zip(FLEETS, _COLOURS, strict=True):
        spent = {
            one: it
            for one, cell in cells.items()
            if one.fleet == fleet and (it := spent_to(cell.course, target)) is not None
        }
        if spent:
            for panel, name in zip(panels, _SECOND, strict=True):
                _panel(panel, list(spent.values()), name, fleet, colour)
    for panel, name in zip(panels, _SECOND, strict=True):
        panel.set_xlabel("virtual seconds", fontsize=9)
        panel.set_ylabel(_LABELS[name], fontsize=9)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.grid(color="#e5e7eb", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    if panels[0].has_data():
        panels[0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"to a validation loss of {target:.3f}", fontsize=10)
    figure.savefig(path, format="png", dpi=130)


def _panel(panel: Axes, spent: list[Spent], name: str, fleet: str, colour: str) -> None:
    points = {index: (one.seconds, getattr(one, name) / _SECOND[name]) for index, one in enumerate(spent)}
    best = sorted(points[index] for index in front(points))
    panel.scatter(*zip(*points.values(), strict=True), color=colour, s=10, alpha=0.4, linewidths=0)
    panel.plot(
        [x for x, _ in best], [y for _, y in best], color=colour, marker="o", markersize=4, label=fleet
    )
