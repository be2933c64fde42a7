"""Planning: which units the next local steps train, that is all, a window of blocks, or the heads that this peer owns.

**Block windows** are drawn a round ahead, while the round before still gathers, so that the compressed context of the
next block window can be fetched meanwhile. `LayersConfig` says by what they are drawn: by importance (this peer's own
measurements and its neighbours', weighted by the last row, with a bonus for blocks that were seldom measured),
uniformly, or in turn, each peer from a block of its own on so that neighbours do not all train the same. The lot is a
hash of (this peer, the round), so the draw can be repeated from the same knowledge.

**Heads** are dealt out by hashing among all known peers (`trust.rows.units.ownership`), for an epoch at a time. Peers
count their own rounds, and an epoch must mean the same to all of them: it is the lower median of the newest rounds that
all known peers announced (of those that can be relied on, where not all can), in units of `epoch_rounds`. All hear
about the same announcements, so they find about the same median; a peer that has run far ahead, or lies about it, does
not move it. Heads are dealt when a round ends and the announcements of it are in. Where two peers disagree for a
moment, a head is trained twice or not at all, which a merge by units bears. Dealing takes a hash for each peer and
unit, so in a large network heads are dealt among `MOST_DEALT` peers, in each epoch those with the smallest hash of
(peer, epoch). Every other peer takes the part that it would have as one of them, so that all train about as much, and a
head has more owners than `HeadsConfig.copies`.

Units in no block, as a final norm, belong to every block window.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median_low
from typing import Final

from gossipllm.config import LearnerConfig
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.saved import WHOLE, Plan
from peers.core.terms import Terms
from trust.rows.units.importance import (
    Importance,
    combined,
    drawn_window,
    round_robin,
    smoothed,
    window_probabilities,
    with_bonus,
)
from trust.rows.units.ownership import kept, owned
from wire.digest import digest_of
from wire.errors import WireError
from wire.importance import decode_importance
from wire.updates.units import Offer

BONUS: Final = 0.5
"""Bonus of a layer that was never measured, in standard deviations of the importances. Guess."""
MOST_DEALT: Final = 64
"""Peers that heads are dealt among; also the most copies that can be asked for. With a thousand peers the core would
stand still for seconds."""
MOST_IMPORTANCE: Final = 3e38
"""Largest importance taken: above it training has diverged, and no announcement can hold the number (float32)."""

_LOT_BITS: Final = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningInputs:
    """What a plan depends on beside the configuration: the newest announcements of those lately heard, what the
    last row gave them, and the contexts that are at hand or to be had, by key. `trusted` are the peers whose claims can
    be relied on, None where all are."""

    entries: Sequence[ReceivedAnnouncement] = ()
    weights: Mapping[PeerId, float] = field(default_factory=dict[PeerId, float])
    contexts: frozenset[bytes] = frozenset()
    trusted: frozenset[PeerId] | None = None


class Planner:
    def __init__(self, me: PeerId, terms: Terms, config: LearnerConfig) -> None:
        self._me = me
        self._terms = terms
        self._layers = config.layers
        self._heads = config.heads
        self._fetches = config.layers.context == "distil" and config.layers.contexts == "fetch"
        self.by_block_window = config.layers.partial
        self.by_heads = config.adapter.train == "heads" and config.heads.copies > 0

    @cached_property
    def _own(self) -> tuple[int, ...]:
        return self._terms.schema.indices(self._terms.offer)

    @cached_property
    def _block_windows(self) -> tuple[bytes | None, ...]:
        """The units of each block window by its first block, as a bitmap; None where the adapter has none there."""
        units, terms = self._terms.schema.units, self._terms
        windows: list[bytes | None] = []
        for first in range(terms.layers - terms.blocks + 1):
            inside = [index for index in self._own if first <= units[index].layer < first + terms.blocks]
            loose = [index for index in self._own if units[index].layer < 0]
            windows.append(self._bitmap(inside + loose) if inside else None)
        return tuple(windows)

    def settled(self, plan: Plan, round_: int, held: Collection[bytes]) -> Plan:
        """The plan to train by in this round: the planned one, or one for which the context is here.

        `held` has the keys of fetched contexts. Where the context of the planned block window did not come in time,
        but others are here, one of their block windows is trained: slow links would otherwise bring each context a
        round too late.
        """
        if not self._fits(plan):
            # The first round, or the settings changed since the plan was saved.
            nothing = (None,) * self._terms.layers
            plan = (
                self.block_window(round_, nothing, (0,) * self._terms.layers, PlanningInputs())
                if self.by_block_window
                else WHOLE
            )
        key = self.context_key(plan)
        ready = () if key is None or key in held else self._with_context(held)
        return self._one_of(ready, round_) if ready else plan

    def _fits(self, plan: Plan) -> bool:
        """Whether a saved plan is possible with the present settings and model."""
        if self.by_block_window and self._filled:
            return (
                0 <= plan.first_block < len(self._block_windows)
                and self._block_windows[plan.first_block] == plan.units
            )
        if plan == WHOLE or plan.first_block >= 0 or not self.by_heads:
            return plan == WHOLE
        try:
            units = self._terms.schema.indices(Offer(self._terms.offer.rank, plan.units))
        except WireError:
            return False
        return set(units) <= set(self._own)

    def block_window(
        self, round_: int, importance: Importance, measured: Sequence[int], inputs: PlanningInputs
    ) -> Plan:
        """A block window for this round; all units where no block holds a unit of this peer's adapter."""
        possible = self._possible(inputs.contexts)
        if not possible:
            return WHOLE
        match self._layers.sampling:
            case "round-robin":
                offset = int(_lot(self._me, "begin") * len(possible))
                return self._plan(possible[round_robin(round_ + offset, len(possible))])
            case "uniform":
                return self._one_of(possible, round_)
            case "importance":
                chances = self._chances(round_, importance, measured, inputs)
                among = [chances[first] if first in possible else 0.0 for first in range(len(chances))]
                whole = math.fsum(among)
                return self._plan(
                    drawn_window([chance / whole for chance in among], _lot(self._me, str(round_)))
                )

    def heads(self, our_round: int, inputs: PlanningInputs) -> Plan:
        """The heads to train next, after our own round `our_round`."""
        capacities = {one.author: float(one.announcement.capacity) for one in inputs.entries}
        capacities[self._me] = float(self._heads.capacity)
        counted = [one for one in inputs.entries if inputs.trusted is None or one.author in inputs.trusted]
        now = median_low([our_round, *(one.announcement.round for one in counted)])
        units = self._terms.schema.units
        dealt = [index for index in self._own if units[index].layer >= 0]
        if not dealt:
            return WHOLE
        epoch = now // self._heads.epoch_rounds
        among = {*sorted(capacities, key=lambda peer: _lot(peer, f"epoch {epoch}"))[:MOST_DEALT], self._me}
        peers, names = {peer: capacities[peer] for peer in among}, [units[index].name for index in dealt]
        copies, trusted = self._heads.copies, inputs.trusted
        if trusted is None:
            mine = owned(self._me, peers, names, epoch=epoch, copies=copies)
        else:
            mine = kept(self._me, peers, names, epoch=epoch, copies=copies, trusted=trusted)
        return Plan(self._bitmap([dealt[place] for place in sorted(mine)]))

    def context_key(self, plan: Plan) -> bytes | None:
        """Key of the context to fetch for this plan, if any."""
        keys = self._terms.context_keys
        return keys[plan.first_block] if self._fetches and 0 <= plan.first_block < len(keys) else None

    def probes(self, round_: int) -> bool:
        """Whether the importance of all layers is measured in this round."""
        every = self._layers.probe_every
        return self.by_block_window and every > 0 and round_ % every == 0

    def measured_importance(
        self, importance: Importance, measured: Sequence[int], fresh: Sequence[float | None]
    ) -> tuple[Importance, tuple[int, ...]]:
        """Running means of importance, and counts, after a round's measurements; empty where layers are not chosen."""
        layers = self._terms.layers
        if not self.by_block_window or not layers:
            return (), ()
        known = importance if len(importance) == layers else (None,) * layers
        counts = measured if len(measured) == layers else (0,) * layers
        sound = [
            value if value is not None and 0 <= value <= MOST_IMPORTANCE else None
            for value in (fresh if len(fresh) == layers else (None,) * layers)
        ]
        return (
            smoothed(known, sound, keep=self._layers.smoothing),
            tuple(count + (value is not None) for count, value in zip(counts, sound, strict=True)),
        )

    def _chances(
        self, round_: int, importance: Importance, measured: Sequence[int], inputs: PlanningInputs
    ) -> tuple[float, ...]:
        layers = self._terms.layers
        heard = [
            (decode_importance(one.announcement.importance, layers), inputs.weights[one.author])
            for one in inputs.entries
            if inputs.weights.get(one.author, 0.0) > 0
        ]
        own = max(0.0, 1.0 - sum(weight for _, weight in heard))
        weights = [own, *(weight for _, weight in heard)]
        robust = inputs.trusted is not None
        together = combined(importance, [one for one, _ in heard], weights, robust=robust)
        hopeful = with_bonus(together, measured, rounds=round_, scale=BONUS)
        return window_probabilities(
            hopeful,
            window=self._terms.blocks,
            temperature=self._layers.temperature,
            floor=self._layers.floor,
            softmax=self._layers.softmax,
        )

    def _one_of(self, windows: Sequence[int], round_: int) -> Plan:
        return self._plan(windows[int(_lot(self._me, str(round_)) * len(windows))])

    def _plan(self, first: int) -> Plan:
        return Plan(self._block_windows[first] or b"", first)

    @cached_property
    def _filled(self) -> tuple[int, ...]:
        return tuple(first for first, units in enumerate(self._block_windows) if units is not None)

    def _possible(self, contexts: Collection[bytes]) -> Sequence[int]:
        """First blocks of block windows that hold units of ours; of these, those whose context can be had, if any."""
        return (self._with_context(contexts) if self._fetches else ()) or self._filled

    def _with_context(self, contexts: Collection[bytes]) -> Sequence[int]:
        keys = self._terms.context_keys
        return [first for first in self._filled if first < len(keys) and keys[first] in contexts]

    def _bitmap(self, units: Sequence[int]) -> bytes:
        return self._terms.schema.offer(units, self._terms.offer.rank).units


def _lot(me: PeerId, what: str) -> float:
    """A pseudo-random number in [0, 1), a function of the peer and of what is drawn."""
    drawn = int.from_bytes(digest_of(f"gossipllm/plan/1\0{me}\0{what}".encode())[:8], "little")
    return (drawn >> (64 - _LOT_BITS)) / 2.0**_LOT_BITS
