"""The ways to map between two models' layers; `maps.py` says what each is. No torch here."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Way: TypeAlias = Literal["ridge", "svd", "random"]

OFFERED: Final[tuple[Way, ...]] = ("ridge", "svd")
"""Those for use; `random` is a control for measurements."""
