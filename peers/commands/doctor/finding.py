"""What the doctor finds: one fact, whether it is good, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`value` is what was found, `cure` a sentence for whoever reads it, empty where nothing is to be done. Both are
    one line and may hold what others wrote."""

    level: Level
    what: str
    value: str
    cure: str = ""


Findings: TypeAlias = Iterator[Finding]
"""As they are found: a check that takes seconds says what it has meanwhile."""


def in_bytes(count: float) -> str:
    """With a unit, in powers of ten."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
