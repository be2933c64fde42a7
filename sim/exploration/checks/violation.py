"""A violated invariant, and the boundary of a check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sim.exploration.run import Explored
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened


@dataclass(frozen=True, slots=True)
class Violation:
    """`peer` is the name of the peer where it was seen, `event` the index of the last event before that in the log."""

    invariant: str
    peer: str
    text: str
    event: int


class Check(Protocol):
    """One invariant. Each method yields what violates it, as (peer, what is wrong)."""

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        """An event was handled; its effects are not performed yet."""
        ...

    def sample(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        """A second has passed."""
        ...

    def end(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        """The world is over, after its quiet time."""
        ...


class Watching:
    """A check that sees nothing. Others override what they need."""

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:  # noqa: ARG002
        return iter(())

    def sample(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:  # noqa: ARG002
        return iter(())

    def end(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:  # noqa: ARG002
        return iter(())
