"""What an optimiser remembers of an adapter from round to round, as arrays. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wire.floats import F32


@dataclass(slots=True, eq=False)
class Moments:
    """The optimiser's memory after `steps` steps: running means of gradients and of their squares by tensor.

    They were begun at step `since`, and are of what was trained as `units` says: a bitmap as in `wire.units`.
    """

    steps: int = 0
    first: Mapping[str, F32] = field(default_factory=dict[str, F32])
    second: Mapping[str, F32] = field(default_factory=dict[str, F32])
    since: int = 0
    units: bytes = b""

    def of(self, units: bytes) -> Moments:
        """What of them serves to train these units."""
        if units == self.units:
            return self
        return Moments(self.steps, since=self.steps, units=units)
