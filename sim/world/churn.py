"""Plans joining, outages, crashes and network splits on the world's agenda, as the conditions say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from sim.world.agenda import Agenda
from sim.world.churn_phrases import joining, must_be_known, outage, split
from sim.world.conditions import ChurnConfig
from sim.world.links.network import SimulatedNetwork
from sim.world.simulated_peer import SimulatedPeer


class Churn:
    """Churn of one world, whose `start` and `crash` it is given. A peer runs while its count `away` is 0."""

    def __init__(
        self,
        config: ChurnConfig,
        *,
        seed: int,
        agenda: Agenda,
        network: SimulatedNetwork,
        start: Callable[[SimulatedPeer], None],
        crash: Callable[[SimulatedPeer], None],
    ) -> None:
        self._config = config
        self._seed = seed
        self._agenda = agenda
        self._network = network
        self._start = start
        self._crash = crash

    def begin(self, nodes: Sequence[SimulatedPeer]) -> None:
        """Start all peers that do not join later, and plan everything else.

        Raises `ValueError`, before anything happens, where the conditions name an unknown peer.
        """
        by_name = {node.config.name: node for node in nodes}
        joinings = [joining(one) for one in self._config.late]
        outages = [outage(one) for one in self._config.outages]
        splits = [split(one) for one in self._config.cuts]
        must_be_known((one.peer for one in (*joinings, *outages)), by_name)
        must_be_known((name for one in splits for side in one.groups for name in side), by_name)
        for one in joinings:
            by_name[one.peer].away += 1
            self._agenda.after(one.at_s, self._come, by_name[one.peer])
        for node in nodes:
            if not node.away:
                self._start(node)
        for one in outages:
            self._agenda.after(one.since_s, self._go, by_name[one.peer])
            self._agenda.after(one.until_s, self._come, by_name[one.peer])
        for number, one in enumerate(splits):
            groups = [frozenset(by_name[name].index for name in side) for side in one.groups]
            self._agenda.after(one.since_s, self._network.cut, number, groups)
            self._agenda.after(one.until_s, self._network.heal, number)
        if self._config.crashes_per_hour:
            for node in nodes:
                # A generator of its own for each peer: crashes do not depend on other random draws.
                self._await_crash(node, random.Random(f"{self._seed} crashes {node.index}"))

    def _await_crash(self, node: SimulatedPeer, rng: random.Random) -> None:
        lives_s = rng.expovariate(self._config.crashes_per_hour / 3600)
        down_s = rng.expovariate(1 / self._config.downtime_s)
        self._agenda.after(lives_s, self._go, node)
        self._agenda.after(lives_s + down_s, self._come, node)
        self._agenda.after(lives_s + down_s, self._await_crash, node, rng)

    def _go(self, node: SimulatedPeer) -> None:
        node.away += 1
        if node.alive:
            self._crash(node)

    def _come(self, node: SimulatedPeer) -> None:
        """End one reason for being away; start the peer if none is left, unless its core stopped by itself."""
        node.away -= 1
        if not node.away and node.stopped is None:
            self._start(node)
