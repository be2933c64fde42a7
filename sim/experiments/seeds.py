"""Seeds as they are written on a command line."""

from __future__ import annotations

import re

from trust.errors import UserMistake


def seeds_of(text: str) -> list[int]:
    """`0..4` and `0,2,5`, and both: `0..2,7`. Raises `UserMistake`."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:\.\.(\d{1,6}))?\s*", part)
        if match is None:
            raise UserMistake(f"--seeds {text}: must be like 0..4 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserMistake(f"--seeds {text}: {first}..{last} holds nothing")
        seeds += range(first, last + 1)
    return seeds
