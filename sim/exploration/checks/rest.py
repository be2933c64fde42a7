"""Checks of peers that settle: they end at their best state, take no steps there, and do not keep each other awake."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gossipllm.work import Train
from peers.core.effects import Log, Store
from peers.core.events import Started
from peers.core.plateau import PAUSE_S
from sim.exploration.checks.violation import Watching
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from trust.record.history import Round

TOLERANCE = 1e-6
"""How far two measurements of one state may differ: the learner keeps an adapter in fewer bits than it measures in."""


class SettledPeersRest(Watching):
    """A peer goes back to a state whose trust loss is the least of all that it had since its last start; it takes no
    local steps while it is settled; and its looks at the news are at least `PAUSE_S` apart."""

    def __init__(self) -> None:
        self._settled: dict[int, bool] = {}
        self._least: dict[int, float] = {}
        self._looked: dict[tuple[int, int], float] = {}

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        if isinstance(happened.event, Started):
            kept = None if node.disk is None else node.disk.plateau
            self._settled[node.index] = kept is not None and kept.settled
            self._least[node.index] = math.inf if kept is None or kept.least is None else kept.least
        for effect in happened.effects:
            if isinstance(effect, Store):
                self._settled[node.index] = effect.saved.plateau.settled
            if isinstance(effect, Log) and isinstance(effect.record, Round):
                yield from self._ended(node, effect.record, happened)
        trains = any(isinstance(one, Train) and one.steps for one in happened.effects)
        if trains and self._settled.get(node.index):
            yield "trains while it is settled"

    def _ended(self, node: SimulatedPeer, record: Round, happened: Happened) -> Iterator[str]:
        least = self._least.get(node.index, math.inf)
        if record.guard == "recalled" and record.trust_merged > least * (1 + TOLERANCE) + TOLERANCE:
            yield f"goes back to a trust loss of {record.trust_merged} in round {record.round}, and had {least}"
        before = record.trust_alone if record.steps else math.inf
        self._least[node.index] = min(
            [least, *(loss for loss in (before, record.trust_merged) if math.isfinite(loss))]
        )
        if not record.settled or record.steps:
            return
        life = (happened.peer, happened.life)
        since = happened.at - self._looked.get(life, -math.inf)
        if since < PAUSE_S:
            yield f"looks in round {record.round}, {since:.1f} s after its last look"
        self._looked[life] = happened.at
