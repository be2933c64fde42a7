"""A finding of the doctor: a fact, whether it is good and, where it is not, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`value` is what was found, `cure` what the user can do; empty where nothing is to be done. Both are one line and
    may hold text from other peers, not yet escaped."""

    level: Level
    what: str
    value: str
    cure: str = ""


Findings: TypeAlias = Iterator[Finding]
"""Findings as they are made, so that a slow check shows its first ones at once."""
