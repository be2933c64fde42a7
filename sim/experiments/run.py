"""One run: a method on a scenario with a seed, from texts to metrics.

    texts -> shares of the peers -> a pool of learners -> a world of cores -> records -> metrics

The peers are the cores that run on devices; learner, disk and network are simulated. A run depends on its
configuration and its seed alone, never on what ran before it in the process or beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gossipllm.config import LearnerConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.dealing.partitions import Share, theoretical
from peers.core.round.stages import Settled
from sim.adversaries.faults.backdoor import Backdoor
from sim.adversaries.table import ADVERSARIES
from sim.experiments.attackers import Attack
from sim.experiments.configurations import core_config, learner_config
from sim.experiments.measuring.backdoor_success import backdoor_success
from sim.experiments.measuring.best_states import BestStates, averages_iterates
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.measuring.peer_ends import PeerEnd, attack_metrics, run_metrics
from sim.experiments.measuring.texts_of_others import bits_of_texts
from sim.experiments.method_settings import round_of
from sim.experiments.methods import Method, method_named
from sim.experiments.scenarios import Scenario
from sim.experiments.shares import read_by_peers, shares_of, with_text_of
from sim.experiments.texts import category_names
from sim.world.agenda import EPOCH
from sim.world.fetching.question_queue import PooledLearner, QuestionQueue
from sim.world.keys import ToyKeys
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from sim.world.world import World
from trust.errors import UserMistake
from trust.record.history import Begun, Entry, Round
from trust.record.matrix import members
from wire.digest import Content

SLICE_S: Final = 1.0
"""Virtual seconds between checks of whether a run is over, and reports of its progress and events."""
LISTENING_S: Final = 0.05
"""The same where there are attackers, who hear what they were sent when events are reported."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The results of a run. `entries` are all peers' records in order of virtual time, `snapshots` the adapter on each
    honest peer's disk (`gossipllm.model.adapter.snapshots`), None for a peer that never saved one."""

    metrics: RunMetrics
    entries: tuple[Entry, ...]
    snapshots: tuple[Content | None, ...]


def simulate(
    scenario: Scenario,
    name: str,
    seed: int,
    *,
    on_rounds: Callable[[int], None] = lambda _: None,
    on_events: Callable[[Iterable[Happened]], None] = lambda _: None,
) -> Outcome:
    """Run method `name` with `seed`; `on_rounds` is given the number of rounds of all peers together.

    Raises `UserMistake` for faults of the scenario.
    """
    method = method_named(name)
    pool = LearnerPool(learner_config(scenario, method, seed, 0), lambda _phase, _step: None)
    dealt = shares_of(scenario, seed, pool)
    learners = [learner_config(scenario, method, seed, index) for index in range(scenario.peers)]
    shares = read_by_peers(with_text_of(method, dealt, scenario, pool), learners, pool)
    oracle_NN = theoretical(dealt)
    world = World(seed=seed, conditions=scenario.conditions, logged=True)
    queue = QuestionQueue(pool)
    states = BestStates(pool, averages=averages_iterates(method, scenario))
    for index, share in enumerate(shares):
        config = core_config(scenario, method, seed, index, oracle_NN)
        states.add(config.learner, share)
        world.add(
            config,
            _learner_factory(queue, pool, config.learner, share),
            keys=ToyKeys.of(f"{seed} {config.name}"),
            watts=scenario.devices.watts_of(index),
        )
    attack = Attack(world, scenario, method, seed, queue=queue, pool=pool, shares=shares, oracle_NN=oracle_NN)
    world.begin()
    attack.begin()
    finished = _run(
        world, scenario, method, states, on_rounds, _all((attack.listen, states.listen, on_events))
    )
    honest = world.nodes[: scenario.peers]
    disks = (node.disk for node in honest)
    snapshots = tuple(None if disk is None else disk.snapshot for disk in disks)
    success: tuple[float, ...] = ()
    if scenario.attack.present and ADVERSARIES[scenario.attack.name].fault is Backdoor:
        success = backdoor_success(snapshots, shares, pool, rank=scenario.adapter.rank)
    unlike = len({one.model for one in learners}) > 1
    metrics = run_metrics(
        _ends(
            honest,
            scenario,
            read_by_peers(dealt, learners, pool),
            states,
            bits_of_texts(pool, learners, dealt, states.snapshots()) if unlike else [()] * scenario.peers,
        ),
        oracle_NN,
        method=name,
        seed=seed,
        finished=finished,
        virtual_s=max((entry.at_s for node in world.nodes for entry in node.history), default=EPOCH) - EPOCH,
        trace=world.trace,
        forward=pool.meter.forward,
        backward=pool.meter.backward,
        attack=attack_metrics(
            scenario.attack.name,
            [_rounds(node) for node in honest],
            attack.ids,
            triggered=success,
        ),
    )
    entries = sorted((entry for node in world.nodes for entry in node.history), key=lambda entry: entry.at_s)
    return Outcome(metrics, tuple(entries), snapshots)


def _run(
    world: World,
    scenario: Scenario,
    method: Method,
    states: BestStates,
    on_rounds: Callable[[int], None],
    on_events: Callable[[Sequence[Happened]], None],
) -> bool:
    """Let the world run until the honest peers have done all rounds or settled, none of them has become better for
    `patience` rounds, or `limit_s` is over. Returns False in the last case, and where a peer stopped before."""
    rounds, done = round_of(method, scenario.round, peers=scenario.peers).rounds, 0
    # With +decay peers have a patience of their own, after which they go on at a lower rate.
    patience = 0 if method.decay else scenario.patience
    honest = world.nodes[: scenario.peers]
    slice_s = LISTENING_S if scenario.attackers else SLICE_S
    while world.now - EPOCH < scenario.limit_s:
        world.run(seconds=min(slice_s, EPOCH + scenario.limit_s - world.now))
        on_events(world.log)
        # Cleared at once, because events and effects hold whole adapters.
        world.log.clear()
        before, done = done, sum(min(node.core.round, rounds) for node in honest)
        if done > before:
            on_rounds(done)
        for node in honest:
            if node.stopped is not None and not node.rounds:
                raise UserMistake(node.stopped.why)
        if all(_is_done(node, rounds) or node.stopped is not None for node in honest):
            break
        if patience and states.idle_rounds() >= patience:
            return True
    if not any(node.rounds for node in honest):
        raise UserMistake(
            f"no peer finished a round within limit_s = {scenario.limit_s:g} virtual seconds; raise it, or lower "
            f"conditions.compute.step_s"
        )
    return all(_is_done(node, rounds) for node in honest)


def _is_done(node: SimulatedPeer, rounds: int) -> bool:
    return node.core.round >= rounds or isinstance(node.core.stage, Settled)


def _all(listeners: Sequence[Callable[[Sequence[Happened]], None]]) -> Callable[[Sequence[Happened]], None]:
    """Gives events to the attackers, to the memory of best states, and to the file of events."""

    def take(happened: Sequence[Happened]) -> None:
        for listen in listeners:
            listen(happened)

    return take


def _learner_factory(
    queue: QuestionQueue[Any], pool: LearnerPool, config: LearnerConfig, share: Share
) -> Callable[[], PooledLearner[Any]]:
    """A function that makes a new learner for each start of a peer, and dismisses the one before."""
    present: list[PooledLearner[Any]] = []

    def new_learner() -> PooledLearner[Any]:
        if present:
            present.pop().dismiss()
        present.append(PooledLearner(queue, pool.new_learner(config, share.splits)))
        return present[0]

    return new_learner


def _ends(
    nodes: Sequence[SimulatedPeer],
    scenario: Scenario,
    shares: Sequence[Share],
    states: BestStates,
    bits: Sequence[tuple[float, ...]],
) -> list[PeerEnd]:
    names = category_names(scenario.data.sources)
    known = zip(nodes, shares, states.best(), states.averages(), bits, strict=True)
    return [
        PeerEnd(
            peer=node.id,
            name=node.config.name,
            device=scenario.label(node.index),
            targets=share.targets,
            category=names[int(share.tokens_C.argmax())],
            base_loss=next((one.test_loss for one in node.records if isinstance(one, Begun)), None),
            rounds=_rounds(node),
            sent=dict(node.sent),
            received=dict(node.received),
            at=_at(node),
            best=best,
            averages=averages,
            bits=read,
        )
        for node, share, best, averages, read in known
    ]


def _at(node: SimulatedPeer) -> tuple[tuple[float, int], ...]:
    """For each of the peer's rounds the virtual seconds and the bytes sent when it was recorded."""
    at = {
        entry.record.round: (entry.at_s - EPOCH, sum(entry.traffic.sent.values()))
        for entry in node.history
        if isinstance(entry.record, Round)
    }
    return tuple(at[record.round] for record in _rounds(node))


def _rounds(node: SimulatedPeer) -> tuple[Round, ...]:
    """The peer's rounds, each once: the last record counts where a round was repeated after a crash."""
    return tuple(record for member in members(node.history) for record in member.rounds.values())
