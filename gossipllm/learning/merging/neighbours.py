"""What a learner keeps of its neighbours between two merges, within bounds.

Decoded updates, their common bases, and the merges that were tried, so that the row that wins need not be computed
again. At a bound the oldest entry goes first; it is computed again when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MERGE_RULES, rules_for_unequal_ranks
from gossipllm.learning.merging.clipping import clipped_moves
from gossipllm.learning.merging.stack import MergedState, OwnAdapter, Stack, completed, started
from gossipllm.learning.merging.updates import Update, UpdateFormat
from gossipllm.model.adapter.names import State
from wire.bounded import BoundedDict
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32

HELD_UPDATES: Final = 64
HELD_MERGES: Final = 32


def _as_it_is(mixed: State) -> State:
    return mixed


@dataclass(frozen=True, slots=True)
class Target:
    """What neighbours are mixed into, and what the whole adapter becomes of a mix, which is affine in it."""

    own: OwnAdapter
    whole: Callable[[State], State] = _as_it_is


@dataclass(slots=True, eq=False)
class TriedMerge:
    """The mix by one row, the whole adapter that it gives, and its losses on the trust split once they are measured:
    `proposed_P` on the windows that propose, `trust_losses_W` on all."""

    mixed: MergedState
    state: State
    proposed_P: F32 | None = None
    trust_losses_W: F32 | None = None


class Neighbours:
    """Decoded updates, their common bases and tried merges, since the last merge."""

    def __init__(self, updates: UpdateFormat, config: LearnerConfig) -> None:
        self._format = updates
        self._config = config
        self._decoded: BoundedDict[bytes, Update] = BoundedDict(HELD_UPDATES)
        self._stack: tuple[tuple[bytes, ...], Stack] | None = None
        self._merges: BoundedDict[tuple[tuple[float, ...], tuple[bytes, ...]], TriedMerge] = BoundedDict(
            HELD_MERGES
        )

    def decoded(self, update: Content) -> Update:
        """Raises `WireError`."""
        if update.digest not in self._decoded:
            self._decoded[update.digest] = self._checked(self._format.decoded(update.data))
        return self._decoded[update.digest]

    def merged(
        self,
        row: tuple[float, ...],
        updates: Sequence[Content],
        target: Target,
    ) -> TriedMerge | None:
        """The merge by `row`; None where the row keeps everything.

        `target` is no part of the cache's key: call `forget_merges` whenever it changes.
        """
        if len(row) != len(updates) + 1:
            raise ValueError(f"row must have {len(updates) + 1} weights, got {len(row)}")
        if row[0] == 1.0 and not any(row[1:]):
            return None
        digests = tuple(update.digest for update in updates)
        key = (row, digests)
        if key not in self._merges:
            stack = self._stacked(digests, updates, target.own)
            mixed = stack.merge(row, self._config.merge, self._config.layers.missing)
            self._merges[key] = TriedMerge(mixed, target.whole(mixed.state))
        return self._merges[key]

    def tried(self, update: Update, share: float, target: Target) -> State:
        """The merge with one neighbour at the weight `share`, which is not kept.

        By rule "svd" where the configured rule is robust: of two adapters, such a rule may take the larger weight's.
        """
        stack = self._stack_of(target.own, [update])
        rule = "svd" if MERGE_RULES[self._config.merge].robust else self._config.merge
        return target.whole(stack.merge((1 - share, share), rule, self._config.layers.missing).state)

    def moves(self, updates: Sequence[Content], target: Target) -> tuple[State | None, list[State]]:
        """`(o, m)`, such that a row w gives the whole adapter `o + sum_j w_j m_j`; o is None for no offset. m_0 is this
        peer's own move.

        For units that a neighbour does not offer, its move is this peer's own. The clip bounds moves as
        `clipping.clipped_moves` does.
        """
        blueprint = self._format.blueprint
        state, start = target.own.state, target.own.start
        others = [self.decoded(update) for update in updates]
        states = [state, *(completed(one, state, blueprint) for one in others)]
        if not self._config.sends_start:
            return _through(target.whole, None, clipped_moves(states, self._config.clip))
        starts = [start, *(started(one, start, blueprint) for one in others)]
        gains = [_gain(*pair) for pair in zip(states, starts, strict=True)]
        return _through(target.whole, start, clipped_moves(gains, self._config.clip))

    def _checked(self, update: Update) -> Update:
        rank = self._format.blueprint.rank
        rule = self._config.merge
        if update.offer.rank != rank and not MERGE_RULES[rule].unequal_ranks:
            raise WireError(
                "offer.rank",
                f'{update.offer.rank} is not adapter.rank here ({rank}), which merge.rule = "{rule}" needs; '
                f"unequal ranks need {rules_for_unequal_ranks()}",
            )
        return update

    def _stacked(self, digests: tuple[bytes, ...], updates: Sequence[Content], own: OwnAdapter) -> Stack:
        if self._stack is None or self._stack[0] != digests:
            others = [self.decoded(update) for update in updates]
            self._stack = (digests, self._stack_of(own, others))
        return self._stack[1]

    def _stack_of(self, own: OwnAdapter, others: Sequence[Update]) -> Stack:
        config = self._config
        return Stack(self._format.blueprint, own, others, mixing=config.mixing, clip=config.clip)

    def forget(self) -> None:
        self._decoded.clear()
        self.forget_merges()

    def forget_merges(self) -> None:
        self._stack = None
        self._merges.clear()


def _through(
    whole: Callable[[State], State], origin: State | None, moves: list[State]
) -> tuple[State | None, list[State]]:
    """Origin and moves of the whole adapter, from those of what is mixed."""
    if whole is _as_it_is:
        return origin, moves
    zero = whole({name: np.zeros_like(value) for name, value in moves[0].items()})
    return (zero if origin is None else whole(origin)), [_gain(whole(move), zero) for move in moves]


def _gain(state: State, start: State) -> State:
    return {name: value - start[name] for name, value in state.items()}
