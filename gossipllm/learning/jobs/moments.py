"""AdamW's moments of an adapter, as arrays that outlive a round. No torch here: snapshots and merging use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wire.floats import F32


@dataclass(slots=True, eq=False)
class Moments:
    """The optimiser's state after `steps` steps: running means of gradients and of their squares, by tensor.

    They were begun at step `since`. `units` is a bitmap (`wire.updates.units`) of the units that were trained.
    """

    steps: int = 0
    first: Mapping[str, F32] = field(default_factory=dict[str, F32])
    second: Mapping[str, F32] = field(default_factory=dict[str, F32])
    since: int = 0
    units: bytes = b""

    def of(self, units: bytes) -> Moments:
        """The moments to train these units with: these where they are of the same units, else fresh ones."""
        if units == self.units:
            return self
        return Moments(self.steps, since=self.steps, units=units)
