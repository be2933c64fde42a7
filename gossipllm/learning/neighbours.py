"""What a learner holds of its neighbours between two merges, within bounds.

Decoded updates, their common bases, and the merges that were tried, so that the row that wins need not be
computed again. The oldest go first where a bound is met; what is gone is made anew when it is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from gossipllm.config import LearnerConfig
from gossipllm.learning.merging import MergedState, Stack
from gossipllm.model.adapters import Adapter
from wire.digest import Content
from wire.floats import F32
from wire.tensors import decode_update

HELD_UPDATES: Final = 64
HELD_MERGES: Final = 32


class Neighbours:
    """What was received and tried since the last merge: decoded updates, their bases, merges by row."""

    def __init__(self, adapter: Adapter, config: LearnerConfig) -> None:
        self._adapter = adapter
        self._config = config
        self._decoded: OrderedDict[bytes, dict[str, F32]] = OrderedDict()
        self._stack: tuple[tuple[bytes, ...], Stack] | None = None
        self._merges: OrderedDict[tuple[tuple[float, ...], tuple[bytes, ...]], MergedState] = OrderedDict()

    def decoded(self, update: Content) -> dict[str, F32]:
        """Raises `WireError`."""
        if update.digest not in self._decoded:
            self._decoded[update.digest] = decode_update(update.data, self._adapter.layout)
            if len(self._decoded) > HELD_UPDATES:
                self._decoded.popitem(last=False)
        return self._decoded[update.digest]

    def merged(self, row: tuple[float, ...], updates: Sequence[Content]) -> MergedState | None:
        """The merge by `row` with the own adapter as it is; None where the row keeps everything."""
        if len(row) != len(updates) + 1:
            raise ValueError(f"row must have {len(updates) + 1} weights, got {len(row)}")
        if row[0] == 1.0 and not any(row[1:]):
            return None
        digests = tuple(update.digest for update in updates)
        key = (row, digests)
        if key not in self._merges:
            self._merges[key] = self._stacked(digests, updates).merge(row, self._config.merge)
            if len(self._merges) > HELD_MERGES:
                self._merges.popitem(last=False)
        return self._merges[key]

    def _stacked(self, digests: tuple[bytes, ...], updates: Sequence[Content]) -> Stack:
        if self._stack is None or self._stack[0] != digests:
            states = [self._adapter.state(), *(self.decoded(update) for update in updates)]
            self._stack = (digests, Stack(states, alpha=self._config.adapter.alpha))
        return self._stack[1]

    def forget(self) -> None:
        self._decoded.clear()
        self.forget_merges()

    def forget_merges(self) -> None:
        self._stack = None
        self._merges.clear()
