"""Numbers as people read them: 1 round, 2 rounds, 1.2 GB."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """`number` with its noun, whose plural ends in "s" unless it is given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def in_bytes(count: float) -> str:
    """`count` bytes as text, with a unit in powers of ten."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
