"""Styles of weights and guard outcomes in a terminal: weights in per cent on a colour, a colour for each outcome."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from rich.style import Style

from trust.record.history import Relation

_COLOURS: Final = ((0, 34, 78), (87, 93, 109), (165, 156, 116), (253, 231, 55))
"""Four points of the colour map cividis (Nunez et al. 2018), which looks the same to the colour-blind."""

GUARDS: Final = {
    "taken": Style(color="green"),
    "shrunk": Style(color="yellow"),
    "refused": Style(color="red"),
    "alone": Style(dim=True),
    "returned": Style(color="red", bold=True),
    "recalled": Style(color="cyan"),
}
"""Outcome of the guard -> style of its text."""
_SETTLED: Final = Style(color="cyan", bold=True)


def outcome(guard: str, *, settled: bool) -> tuple[str, Style | None]:
    """How a peer's last round ended, in a word: the outcome of the guard, or that the peer trains no more."""
    return ("settled", _SETTLED) if settled else (guard, GUARDS.get(guard))


LEFT_OUT: Final = "✗"
"""Mark of a neighbour that was tried by itself and left out of the row."""


RELATIONS: Final[dict[Relation, str]] = {"distils": "d", "compares": "c", "apart": "a"}
"""Marks of neighbours with another base, which have no weight: distilled, only compared, or of no use."""
RELATIONS_ABOUT: Final[dict[Relation, str]] = {
    "distils": "another base: does not merge, distils its predictions",
    "compares": "another base: does not merge, only compares predictions",
    "apart": "another base: nothing to merge or to compare",
}
"""What the marks mean, for the lines below a matrix."""


def weight_text(weight: float, *, own: bool, left_out: bool = False) -> str:
    """A weight in per cent, at most four characters: `*100` (own), `38`, `<1`, `·` for nothing, `✗` for a neighbour
    that was left out, `?` if unknown."""
    if math.isnan(weight):
        return "?"
    if left_out and not weight > 0:
        return LEFT_OUT
    mark = "*" if own else ""
    if not weight > 0:
        return mark + "·"
    return mark + ("<1" if weight < 0.005 else f"{100 * weight:.0f}")


def weight_style(weight: float, top: float, *, own: bool, left_out: bool = False) -> Style:
    """Colour for `weight`; `top`, the greatest weight of the matrix, has the brightest."""
    if left_out and not weight > 0:
        return _RED
    if not 0 < weight < math.inf:
        return Style(dim=True)
    # The square root keeps small weights apart: most weights of a large matrix are a few per cent.
    return _style(round(100 * math.sqrt(min(weight / top, 1.0))), own)


_RED: Final = Style(color="red")


@lru_cache(maxsize=256)
def _style(percent: int, own: bool) -> Style:
    place = percent / 100 * (len(_COLOURS) - 1)
    below = min(int(place), len(_COLOURS) - 2)
    part = place - below
    red, green, blue = (
        round(a + (b - a) * part) for a, b in zip(_COLOURS[below], _COLOURS[below + 1], strict=True)
    )
    # Luma of ITU-R BT.601: dark text on light colours.
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"
    return Style(color=ink, bgcolor=f"rgb({red},{green},{blue})", bold=own)
