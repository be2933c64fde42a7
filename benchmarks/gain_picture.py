"""The picture of `gain_map.py`: a panel for each axis, the gain with its interval over the axis's values."""

# matplotlib's keyword arguments have no types of their own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.comparison.users import Gain

LABELS: Final = {
    "tokens": "training tokens of a peer",
    "relatives": "other peers of the same language",
    "relatedness": "share of a peer's text in its own language",
    "base": "tokens that the base was trained on",
}
LOGARITHMIC: Final = ("tokens", "base")


class Shown(Protocol):
    @property
    def axis(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def gain(self) -> Gain: ...


def draw(found: Sequence[Shown], path: Path) -> None:
    axes_found = list(dict.fromkeys(one.axis for one in found))
    columns = min(2, len(axes_found))
    rows = math.ceil(len(axes_found) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for panel in panels[len(axes_found) :]:
        panel.remove()
    for panel, axis in zip(panels, axes_found, strict=False):
        shown = [one for one in found if one.axis == axis]
        values = [one.value for one in shown]
        gains = [-100 * one.gain.change.value for one in shown]
        low = [gain + 100 * one.gain.change.high for gain, one in zip(gains, shown, strict=True)]
        high = [-100 * one.gain.change.low - gain for gain, one in zip(gains, shown, strict=True)]
        panel.errorbar(values, gains, yerr=(low, high), color="#1d4ed8", marker="o", linewidth=2, capsize=3)
        panel.axhline(0, color="#6b7280", linewidth=0.8)
        if axis in LOGARITHMIC:
            panel.set_xscale("log")
        panel.set_xticks(values, [_short(value) for value in values])
        panel.minorticks_off()
        panel.set_xlabel(LABELS[axis], fontsize=9)
        panel.grid(color="#e5e7eb", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supylabel("less perplexity than the best alone, %", fontsize=9)
    figure.savefig(path, format="png", dpi=150)


def _short(value: float) -> str:
    """A tick's label: 20,480 is 20 k."""
    if value < 1_000:
        return f"{value:g}"
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:.{1 if value < 1e4 else 0}f} k"
