"""What keeps messages of a simulated network from arriving: cuts between groups, and silence in one direction."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

Groups: TypeAlias = Sequence[frozenset[int]]
"""Groups of peers by index. Members of different groups cannot reach each other."""


class Obstacles:
    """Cuts by name, and silent directions. Peers are named by their index."""

    def __init__(self) -> None:
        self._cuts: dict[Hashable, Groups] = {}
        self._silent: set[tuple[int, int]] = set()

    def cut(self, name: Hashable, groups: Groups) -> None:
        self._cuts[name] = groups

    def heal(self, name: Hashable) -> Groups:
        """End a cut, and return its groups; none where there is no such cut."""
        return self._cuts.pop(name, ())

    def silence(self, sender: int, receiver: int) -> None:
        self._silent.add((sender, receiver))

    def end_silence(self, sender: int, receiver: int) -> None:
        self._silent.discard((sender, receiver))

    def is_silent(self, sender: int, receiver: int) -> bool:
        return (sender, receiver) in self._silent

    def is_cut(self, one: int, other: int) -> bool:
        def sides(groups: Groups) -> set[int]:
            return {n for n, group in enumerate(groups) if one in group or other in group}

        return any(len(sides(groups)) > 1 for groups in self._cuts.values())
