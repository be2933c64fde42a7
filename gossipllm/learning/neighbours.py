"""What a learner holds of its neighbours between two merges, within bounds.

Decoded updates, their common bases, and the merges that were tried, so that the row that wins need not be
computed again. The oldest go first where a bound is met; what is gone is made anew when it is asked for.

Mixing parameters, a row w gives `sum_j w_j x_j`. Mixing updates, it gives `s_0 + sum_j w_j (x_j - s_j)`, where
s are the adapters from which the last local steps began (Wagner et al. 2024, algorithm 1, with the sign of a
step forward); that is again a sum of adapters whose weights sum to 1, some of them negative.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gossipllm.config import LearnerConfig
from gossipllm.learning.merging import MergedState, Stack
from gossipllm.learning.updates import Update, UpdateFormat
from gossipllm.model.names import State
from wire.digest import Content
from wire.floats import F32

HELD_UPDATES: Final = 64
HELD_MERGES: Final = 32


@dataclass(slots=True, eq=False)
class Tried:
    """A merge, and its losses on the trust split once they were measured."""

    merged: MergedState
    trust_losses_W: F32 | None = None


class Neighbours:
    """What was received and tried since the last merge: decoded updates, their bases, merges by row."""

    def __init__(self, updates: UpdateFormat, config: LearnerConfig) -> None:
        self._format = updates
        self._config = config
        self._decoded: OrderedDict[bytes, Update] = OrderedDict()
        self._stack: tuple[tuple[bytes, ...], Stack] | None = None
        self._merges: OrderedDict[tuple[tuple[float, ...], tuple[bytes, ...]], Tried] = OrderedDict()

    def decoded(self, update: Content) -> Update:
        """Raises `WireError`."""
        if update.digest not in self._decoded:
            self._decoded[update.digest] = self._format.decoded(update.data)
            if len(self._decoded) > HELD_UPDATES:
                self._decoded.popitem(last=False)
        return self._decoded[update.digest]

    def merged(
        self, row: tuple[float, ...], updates: Sequence[Content], *, state: State, start: State
    ) -> Tried | None:
        """The merge by `row` with the own adapter, which is `state` and was `start` before its local steps.

        None where the row keeps everything. `state` and `start` may only change after `forget_merges`.
        """
        if len(row) != len(updates) + 1:
            raise ValueError(f"row must have {len(updates) + 1} weights, got {len(row)}")
        if row[0] == 1.0 and not any(row[1:]):
            return None
        digests = tuple(update.digest for update in updates)
        key = (row, digests)
        if key not in self._merges:
            stack = self._stacked(digests, updates, Update(state, start))
            self._merges[key] = Tried(stack.merge(self._weights(row), self._config.merge))
            if len(self._merges) > HELD_MERGES:
                self._merges.popitem(last=False)
        return self._merges[key]

    def moves(
        self, updates: Sequence[Content], *, state: State, start: State
    ) -> tuple[State | None, list[State]]:
        """`(o, m)`: a row w gives `o + sum_j w_j m_j`, one's own move first; None stands for no offset."""
        everybody = [Update(state, start), *(self.decoded(update) for update in updates)]
        if self._config.mixing == "parameters":
            return None, [one.state for one in everybody]
        return start, [_gain(one) for one in everybody]

    def _weights(self, row: tuple[float, ...]) -> tuple[float, ...]:
        """The row as weights of the stack's adapters."""
        if self._config.mixing == "parameters":
            return row
        others = [weight for taken in row[1:] for weight in (taken, -taken)]
        return (row[0], 1 - row[0], *others)

    def _stacked(self, digests: tuple[bytes, ...], updates: Sequence[Content], own: Update) -> Stack:
        if self._stack is None or self._stack[0] != digests:
            everybody = [own, *(self.decoded(update) for update in updates)]
            states: list[State] = []
            for one in everybody:
                states.append(one.state)
                if self._config.mixing == "updates":
                    assert one.start is not None, "the format carries the start"
                    states.append(one.start)
            self._stack = (digests, Stack(states, alpha=self._config.adapter.alpha))
        return self._stack[1]

    def forget(self) -> None:
        self._decoded.clear()
        self.forget_merges()

    def forget_merges(self) -> None:
        self._stack = None
        self._merges.clear()


def _gain(update: Update) -> State:
    assert update.start is not None, "the format carries the start"
    return {name: value - update.start[name] for name, value in update.state.items()}
