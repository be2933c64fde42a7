"""Numbers as text of bounded width: the history of a stranger may hold any number."""

from __future__ import annotations

import math
from typing import Final

_LARGE: Final = 1e5


def number_text(value: float, form: str) -> str:
    """`value` formatted by `form`; from 1e5 on in scientific notation, `?` if not finite."""
    if not math.isfinite(value):
        return "?"
    sign = "+" if form.startswith("+") else ""
    return format(value, form if abs(value) < _LARGE else f"{sign}.1e")
