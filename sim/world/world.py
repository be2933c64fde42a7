"""A world of simulated peers in virtual time.

Every peer is the core that runs on devices, and every message passes through the real codec; learner, disk and network
are simulated. A world is a function of its seed and of the calls of its methods, so a fault is replayed by its seed.
Its trace is a digest over every event, effect and time.

Writing to the simulated disk takes time, and a state counts as saved only after it. A learner's answer takes time on
the agenda and is computed at its end, so that a pool can answer many peers at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import assert_never

from gossipllm.work import Absorb, Confirm, Evaluate, Fit, Merge, Open, Restore, Train, Weigh
from peers.core.config import CoreConfig
from peers.core.core import Core
from peers.core.effects import (
    Adopt,
    Answer,
    Drop,
    Effect,
    Greet,
    Judge,
    Keep,
    Log,
    Publish,
    Pull,
    Stop,
    Store,
    WakeAt,
)
from peers.core.events import Event, Heard, PeerId, Started, Woke
from peers.core.others.admission import Keys
from peers.core.saved import Saved
from sim.world.agenda import Agenda
from sim.world.churn import Churn
from sim.world.conditions import Conditions
from sim.world.costs import VirtualCosts
from sim.world.disk import write
from sim.world.keys import ToyKeys
from sim.world.learning import SimulatedLearning
from sim.world.links.network import Groups, SimulatedNetwork
from sim.world.simulated_peer import SimulatedLearner, SimulatedPeer
from sim.world.trace import Happened, Trace
from trust.record.history import Entry, Record, Round, Traffic


class World:
    """Add peers, begin (or start them one by one), run, crash or cut them off, and run on.

    With `logged`, `log` holds every event, for replays and for small worlds.
    """

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None, logged: bool = False) -> None:
        self.conditions = conditions or Conditions()
        self.nodes: list[SimulatedPeer] = []
        self.log: list[Happened] = []
        self.watch: Callable[[Happened], None] | None = None
        """Called with each logged event before its effects."""
        self.events = 0
        """Number of events handled by all cores."""
        self._seed = seed
        self._logged = logged
        self._trace = Trace()
        self.agenda = Agenda()
        self.network = SimulatedNetwork(
            self.conditions.link,
            self.conditions.topology,
            agenda=self.agenda,
            rng=random.Random(seed),
            tell=self._happen,
            clock=self.clock,
            # Another generator, so that no lot of the mesh changes the time of a message.
            mesh_rng=random.Random(f"mesh {seed}"),
        )
        self._learning = SimulatedLearning(self.conditions.compute, agenda=self.agenda, tell=self._happen)

    @property
    def now(self) -> float:
        return self.agenda.now

    @property
    def trace(self) -> str:
        """Digest over all events so far."""
        return self._trace.hexdigest()

    @property
    def outsiders(self) -> dict[PeerId, dict[bytes, bytes]]:
        """Blobs by digest of peers that are no cores and that every peer reaches, for events invented with `tell`."""
        return self.network.outsiders

    # -- peers --------------------------------------------------------------------------------------

    def add(
        self,
        config: CoreConfig,
        learner: Callable[[], SimulatedLearner],
        *,
        speed: float | None = None,
        keys: Keys | None = None,
        group: str | None = None,
        watts: float = 0.0,
    ) -> SimulatedPeer:
        """Add a peer, which does nothing before it is started.

        `learner` makes a new learner for each start; the learner of the first start is made now. Without
        `speed` the conditions decide, without `keys` it gets cheap ones. `group` is the address group that others
        see it come from; without it, the peer has one of its own. With `watts`, its rounds are recorded with costs.
        """
        keys = keys or ToyKeys.of(config.name)
        index = len(self.nodes)
        node = SimulatedPeer(
            index=index,
            group=f"v4:10.{index >> 8}.{index & 255}.1" if group is None else group,
            id=keys.peer_id,
            config=config,
            keys=keys,
            make_learner=learner,
            speed=self.conditions.compute.speed_of(index) if speed is None else speed,
            core=Core(config, keys, None),
            learner=learner(),
            costs=VirtualCosts(watts, since_s=self.now),
        )
        self.network.add(node)
        self.nodes.append(node)
        return node

    def begin(self) -> None:
        """Start all peers that do not join later, and plan the churn of the conditions.

        Raises `ValueError`, before anything happens, where the conditions name an unknown peer.
        """
        churn = Churn(
            self.conditions.churn,
            seed=self._seed,
            agenda=self.agenda,
            network=self.network,
            start=self.start,
            crash=self.crash,
        )
        churn.begin(self.nodes)

    def start(self, node: SimulatedPeer) -> None:
        """Start a peer from the state on its disk, if any, and connect it with its running neighbours."""
        node.beginnings.append(node.disk)
        if node.life:
            node.core = Core(node.config, node.keys, node.disk)
            node.learner = node.make_learner()
        node.alive, node.stopped = True, None
        node.life += 1
        self.tell(node, Started())
        self.network.join(node)

    def crash(self, node: SimulatedPeer) -> None:
        """End a peer's process at once; only its disk remains."""
        node.alive = False
        self.network.leave(node)

    def lose_learner(self, node: SimulatedPeer, why: str, *, after_s: float = 0.0) -> None:
        """End a learner's process: nothing that it was asked is answered, and its peer notices `after_s` later."""
        self._learning.lose(node, why, after_s=after_s)

    def cut(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        """Cut two peers off from each other until `heal`."""
        self.network.cut(*_apart(one, other))

    def heal(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        self.network.heal(_apart(one, other)[0])

    def clock(self, node: SimulatedPeer) -> float:
        """The time by a peer's own clock."""
        return self.agenda.now + node.clock_ahead_s

    def tell(self, node: SimulatedPeer, event: Event) -> None:
        """Give a peer an event, at the present time."""
        self._later(0.0, node, event)

    # -- time ---------------------------------------------------------------------------------------

    def run(
        self, *, seconds: float, until: Callable[[], bool] | None = None, most: int = 100_000_000
    ) -> None:
        """Let virtual time pass, or stop earlier once `until()` is true, which is asked before each planned call.

        Raises `RuntimeError` after `most` calls.
        """
        self.agenda.run(seconds=seconds, until=until, most=most)

    def _later(self, delay_s: float, node: SimulatedPeer, event: Event) -> None:
        self.agenda.after(delay_s, self._arrive, node, node.life, event)

    def _arrive(self, node: SimulatedPeer, life: int, event: Event) -> None:
        if not node.lives(life):
            return
        if isinstance(event, Heard):
            self.network.hear(node, event, event.via)
        else:
            self._happen(node, event)

    def _happen(self, node: SimulatedPeer, event: Event) -> Sequence[Effect]:
        now = self.agenda.now
        effects = node.core.handle(event, now + node.clock_ahead_s)
        self.events += 1
        self._trace.add(now, node.index, node.life, event, effects)
        if self._logged:
            self.log.append(Happened(self.agenda.now, node.index, node.life, event, tuple(effects)))
            if self.watch:
                self.watch(self.log[-1])
        for effect in effects:
            self._perform(node, effect)
        return effects

    # -- effects ------------------------------------------------------------------------------------

    def _perform(self, node: SimulatedPeer, effect: Effect) -> None:
        match effect:
            case Judge() | Answer():
                """The network that gave the event takes these from the effects itself."""
            case Keep() | Adopt():
                """What a device keeps for inspection and its next run; a world has its trace."""
            case Open() | Train() | Weigh() | Confirm() | Evaluate() | Fit() | Merge() | Absorb() | Restore():
                self._learning.ask(node, effect)
            case Pull():
                self.network.pull(node, effect)
            case WakeAt():
                self._later(max(0.0, effect.at - self.clock(node)), node, Woke(timer=effect.timer))
            case Store():
                disk_s = self.conditions.link.disk_s
                self.agenda.after(disk_s, self._write, node, node.life, effect.saved)
            case Publish():
                self.network.publish(node, effect.frame)
            case Greet():
                self.network.greet(node, effect)
            case Log():
                self._keep(node, effect.record)
            case Drop():
                self.network.drop(node, effect.peer)
            case Stop():
                node.stopped = effect
                self.crash(node)
            case _:
                assert_never(effect)

    def _write(self, node: SimulatedPeer, life: int, saved: Saved) -> None:
        """Save a state. A crash can fall between this and `Stored`, as on a device."""
        if node.lives(life):
            self._later(self.conditions.link.disk_s, node, write(node, saved))

    def _keep(self, node: SimulatedPeer, record: Record) -> None:
        traffic = Traffic(sent=dict(node.sent), received=dict(node.received))
        if isinstance(record, Round):
            record = node.costs.costed(record, traffic, self.agenda.now)
        node.history.append(Entry(at_s=self.clock(node), traffic=traffic, record=record))


def _apart(one: SimulatedPeer, other: SimulatedPeer) -> tuple[frozenset[frozenset[int]], Groups]:
    """The name of the cut between two peers, and its groups."""
    groups = frozenset((one.index,)), frozenset((other.index,))
    return frozenset(groups), groups
