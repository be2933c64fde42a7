"""Numbers as text that keeps its width: a history may be anybody's, and hold any number."""

from __future__ import annotations

import math
from typing import Final

_LARGE: Final = 1e5


def number_text(value: float, form: str) -> str:
    """By `form`; large ones by their magnitude, `?` where not finite."""
    if not math.isfinite(value):
        return "?"
    sign = "+" if form.startswith("+") else ""
    return format(value, form if abs(value) < _LARGE else f"{sign}.1e")
