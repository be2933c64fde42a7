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

import msgspec

from gossipllm.work import (
    Absorb,
    Confirm,
    Evaluate,
    Fit,
    Merge,
    Merged,
    Open,
    Request,
    Restore,
    Train,
    Trained,
    Weigh,
)
from peers.core.config import CoreConfig
from peers.core.core import Core
from peers.core.effects import (
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
from peers.core.events import Event, Heard, LearnerAnswer, PeerId, Started, Stored, Woke
from peers.core.others.admission import Keys
from peers.core.saved import Saved
from sim.world.agenda import Agenda
from sim.world.churn import Churn
from sim.world.conditions import Conditions
from sim.world.keys import ToyKeys
from sim.world.network import SimulatedNetwork
from sim.world.simulated_peer import SimulatedLearner, SimulatedPeer
from sim.world.trace import Happened, Trace
from trust.record.history import Entry, Record, Traffic


class World:
    """Add peers, begin (or start them one by one), run, crash or cut them off, and run on.

    With `logged`, `log` holds every event, for replays and for small worlds.
    """

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None, logged: bool = False) -> None:
        self.conditions = conditions or Conditions()
        self.nodes: list[SimulatedPeer] = []
        self.log: list[Happened] = []
        self.events = 0
        """Number of events handled by all cores."""
        self._seed = seed
        self._logged = logged
        self._trace = Trace()
        self._agenda = Agenda()
        self._network = SimulatedNetwork(
            self.conditions.link,
            self.conditions.topology,
            agenda=self._agenda,
            rng=random.Random(seed),
            tell=self._happen,
        )

    @property
    def now(self) -> float:
        return self._agenda.now

    @property
    def trace(self) -> str:
        """Digest over all events so far."""
        return self._trace.hexdigest()

    @property
    def outsiders(self) -> dict[PeerId, dict[bytes, bytes]]:
        """Blobs by digest of peers that are no cores and that every peer reaches, for events invented with `tell`."""
        return self._network.outsiders

    # -- peers --------------------------------------------------------------------------------------

    def add(
        self,
        config: CoreConfig,
        learner: Callable[[], SimulatedLearner],
        *,
        speed: float | None = None,
        keys: Keys | None = None,
        group: str | None = None,
    ) -> SimulatedPeer:
        """Add a peer, which does nothing before it is started.

        `learner` makes a new learner for each start; the learner of the first start is made now. Without
        `speed` the conditions decide, without `keys` it gets cheap ones. `group` is the address group that others
        see it come from; without it, the peer has one of its own.
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
        )
        self._network.add(node)
        self.nodes.append(node)
        return node

    def begin(self) -> None:
        """Start all peers that do not join later, and plan the churn of the conditions.

        Raises `ValueError`, before anything happens, where the conditions name an unknown peer.
        """
        churn = Churn(
            self.conditions.churn,
            seed=self._seed,
            agenda=self._agenda,
            network=self._network,
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
        self._network.join(node)

    def crash(self, node: SimulatedPeer) -> None:
        """End a peer's process at once; only its disk remains."""
        node.alive = False
        self._network.leave(node)

    def cut(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        """Cut two peers off from each other until `heal`."""
        pair = frozenset((one.index,)), frozenset((other.index,))
        self._network.cut(frozenset(pair), pair)

    def heal(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        pair = frozenset((one.index,)), frozenset((other.index,))
        self._network.heal(frozenset(pair))

    def tell(self, node: SimulatedPeer, event: Event) -> None:
        """Give a peer an event, at the present time."""
        self._later(0.0, node, event)

    # -- time ---------------------------------------------------------------------------------------

    def run(
        self, *, seconds: float, until: Callable[[], bool] | None = None, most: int = 100_000_000
    ) -> None:
        """Let virtual time pass, or stop earlier once `until()` is true, which is asked before each planned call.

        Raises `RuntimeError` after `most` calls: a world that makes no progress is a fault.
        """
        self._agenda.run(seconds=seconds, until=until, most=most)

    def _later(self, delay_s: float, node: SimulatedPeer, event: Event) -> None:
        self._agenda.after(delay_s, self._arrive, node, node.life, event)

    def _arrive(self, node: SimulatedPeer, life: int, event: Event) -> None:
        if not node.lives(life):
            return
        if isinstance(event, Heard):
            self._network.hear(node, event)
        else:
            self._happen(node, event)

    def _happen(self, node: SimulatedPeer, event: Event) -> Sequence[Effect]:
        effects = node.core.handle(event, self._agenda.now)
        self.events += 1
        self._trace.add(self._agenda.now, node.index, node.life, event, effects)
        if self._logged:
            self.log.append(Happened(self._agenda.now, node.index, node.life, event, tuple(effects)))
        for effect in effects:
            self._perform(node, effect)
        return effects

    # -- effects ------------------------------------------------------------------------------------

    def _perform(self, node: SimulatedPeer, effect: Effect) -> None:
        match effect:
            case Judge() | Answer():
                """The network that gave the event takes these from the effects itself."""
            case Keep():
                """Merge inputs that a device keeps for inspection; a world has its trace."""
            case Open() | Train() | Weigh() | Confirm() | Evaluate() | Fit() | Merge() | Absorb() | Restore():
                self._ask(node, effect)
            case Pull():
                self._network.pull(node, effect)
            case WakeAt():
                self._later(max(0.0, effect.at - self._agenda.now), node, Woke(timer=effect.timer))
            case Store():
                disk_s = self.conditions.link.disk_s
                self._agenda.after(disk_s, self._write, node, node.life, effect.saved)
            case Publish():
                self._network.publish(node, effect.frame)
            case Greet():
                self._network.greet(node, effect)
            case Log():
                self._keep(node, effect.record)
            case Drop():
                self._network.drop(node, effect.peer)
            case Stop():
                node.stopped = effect
                self.crash(node)
            case _:
                assert_never(effect)

    def _ask(self, node: SimulatedPeer, request: Request) -> None:
        compute = self.conditions.compute
        took = request.steps * compute.step_s / node.speed if isinstance(request, Train) else compute.answer_s
        self._agenda.after(took, self._answered, node, node.life, node.learner.ask(request), took)

    def _answered(
        self, node: SimulatedPeer, life: int, answer: Callable[[], LearnerAnswer], took: float
    ) -> None:
        if node.lives(life):
            event = answer()
            if isinstance(event, Trained | Merged):
                event = msgspec.structs.replace(event, seconds=took)
            self._happen(node, event)

    def _write(self, node: SimulatedPeer, life: int, saved: Saved) -> None:
        """Save a state. A crash can fall between this and `Stored`, as on a device."""
        if node.lives(life):
            node.disk = saved
            self._later(self.conditions.link.disk_s, node, Stored(generation=saved.generation))

    def _keep(self, node: SimulatedPeer, record: Record) -> None:
        traffic = Traffic(sent=dict(node.sent), received=dict(node.received))
        node.history.append(Entry(at_s=self._agenda.now, traffic=traffic, record=record))
