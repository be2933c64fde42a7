"""Numbers with their nouns: 1 round, 2 rounds."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """`number` with its noun, whose plural ends in "s" unless it is given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
