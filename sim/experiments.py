"""One run: a method on a scenario with a seed, from texts to metrics.

    texts -> shares of the peers -> a crew of learners -> a world of cores -> records -> metrics

The peers are the cores that run on devices; only learner, disk and network are the simulator's. A run depends
on its configuration and its seed alone, never on what ran before it in the process or beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gossipllm.config import DataConfig, LearnerConfig
from gossipllm.learning.crew import Crew
from gossipllm.mistakes import UserMistake
from gossipllm.randomness import words
from gossipllm.text.partitions import Category, Share, partition, theoretical
from peers.core.config import CoreConfig
from sim.agenda import EPOCH
from sim.keys import ToyKeys
from sim.learners import CrewLearner, Desk
from sim.methods import Method, method_named, reference_of, round_of, trust_of
from sim.metrics import PeerEnd, RunMetrics, run_metrics
from sim.node import Node
from sim.scenarios import Scenario
from sim.texts import category_names, load_categories
from sim.trace import Happened
from sim.world import World
from trust.config import evidence_of
from trust.evidence import F64
from trust.history import Begun, Entry, Round
from trust.matrix import members

SLICE_S: Final = 1.0
"""Virtual seconds between looks at a run: whether it is over, how far it is, what happened meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run leaves. `entries` are all peers' records in order of virtual time."""

    metrics: RunMetrics
    entries: tuple[Entry, ...]


def simulate(
    scenario: Scenario,
    name: str,
    seed: int,
    *,
    on_rounds: Callable[[int], None] = lambda _: None,
    on_events: Callable[[Iterable[Happened]], None] = lambda _: None,
) -> Outcome:
    """Run method `name` with `seed`; `on_rounds` is told how many rounds all peers have done together.

    Raises `UserMistake` for what the scenario's author can mend.
    """
    method = method_named(name)
    crew = Crew(_learner_config(scenario, method, seed, index=0), lambda _phase, _step: None)
    shares = _shares(scenario, seed, crew)
    oracle_NN = theoretical(shares)
    world = World(seed=seed, conditions=scenario.conditions, logged=True)
    desk = Desk(crew)
    for index, share in enumerate(shares):
        config = _core_config(scenario, method, seed, index, oracle_NN)
        world.add(
            config, _hiring(desk, crew, config.learner, share), keys=ToyKeys.of(f"{seed} {config.name}")
        )
    world.begin()
    finished = _run(world, scenario, on_rounds, on_events)
    metrics = run_metrics(
        _ends(world, scenario, shares),
        oracle_NN,
        method=name,
        seed=seed,
        finished=finished,
        virtual_s=max((one.at_s for node in world.nodes for one in node.history), default=EPOCH) - EPOCH,
        trace=world.trace,
        forward=crew.meter.forward,
        backward=crew.meter.backward,
    )
    entries = sorted((entry for node in world.nodes for entry in node.history), key=lambda one: one.at_s)
    return Outcome(metrics, tuple(entries))


def _run(
    world: World,
    scenario: Scenario,
    on_rounds: Callable[[int], None],
    on_events: Callable[[Iterable[Happened]], None],
) -> bool:
    """Whether all peers came to the end of their rounds."""
    rounds, done = scenario.round.rounds, 0
    while world.now - EPOCH < scenario.limit_s:
        world.run(seconds=min(SLICE_S, EPOCH + scenario.limit_s - world.now))
        on_events(world.log)
        # Kept no longer than needed: events and effects hold whole adapters.
        world.log.clear()
        before, done = done, sum(min(node.core.round, rounds) for node in world.nodes)
        if done > before:
            on_rounds(done)
        for node in world.nodes:
            if node.stopped is not None and not node.rounds:
                raise UserMistake(node.stopped.why)
        if all(node.core.round >= rounds or node.stopped is not None for node in world.nodes):
            break
    if not any(node.rounds for node in world.nodes):
        raise UserMistake(
            f"no peer finished a round within limit_s = {scenario.limit_s:g} virtual seconds; raise it, or lower "
            f"conditions.compute.step_s"
        )
    return all(node.core.round >= rounds for node in world.nodes)


def _hiring(
    desk: Desk[Any], crew: Crew, config: LearnerConfig, share: Share
) -> Callable[[], CrewLearner[Any]]:
    """What makes a peer's learner for each of its lives."""
    present: list[CrewLearner[Any]] = []

    def hire() -> CrewLearner[Any]:
        if present:
            present.pop().dismiss()
        present.append(CrewLearner(desk, crew.hire(config, share.splits)))
        return present[0]

    return hire


def _shares(scenario: Scenario, seed: int, crew: Crew) -> tuple[Share, ...]:
    data = scenario.data
    if data.window_tokens > crew.base.context:
        raise UserMistake(
            f"data.window_tokens is {data.window_tokens}, but the model takes at most {crew.base.context} tokens"
        )
    categories = _categories(scenario, crew.base.tokenizer)
    return partition(
        categories, data.partition, peers=scenario.peers, window_tokens=data.window_tokens, seed=seed
    )


_loaded: dict[object, tuple[Category, ...]] = {}


def _categories(scenario: Scenario, tokenizer: Any) -> tuple[Category, ...]:
    """Tokenised once for all runs of a process."""
    data = scenario.data
    key = (scenario.model.name, data.sources, data.partition.kind, data.partition.chunk_tokens)
    if key not in _loaded:
        _loaded[key] = load_categories(data.sources, tokenizer, data.partition)
    return _loaded[key]


def _core_config(scenario: Scenario, method: Method, seed: int, index: int, oracle_NN: F64) -> CoreConfig:
    given = {
        name: float(weight)
        for j, (name, weight) in enumerate(zip(scenario.names, oracle_NN[index], strict=True))
        if j != index and weight > 0
    }
    return CoreConfig(
        name=scenario.names[index],
        network="simulation",
        round=round_of(method, scenario.round, peers=scenario.peers),
        trust=trust_of(method, scenario.trust, fixed=given),
        learner=_learner_config(scenario, method, seed, index=index),
    )


def _learner_config(scenario: Scenario, method: Method, seed: int, *, index: int) -> LearnerConfig:
    """Peers of a run differ in the seed of their batches, runs in all seeds but that of the reference set."""
    data, adapter = scenario.data, scenario.adapter
    own_seed = int(words("gossipllm/simulation/1", (seed, index), 1)[0]) >> 1
    return LearnerConfig(
        model=scenario.model if scenario.model.threads else replace(scenario.model, threads=1),
        adapter=replace(
            adapter,
            seed=f"{adapter.seed} {seed}",
            start=method.start or adapter.start,
            train=method.train or adapter.train,
        ),
        data=DataConfig(
            window_tokens=data.window_tokens,
            trust_windows=data.trust_windows,
            weigh_windows=data.weigh_windows,
            test_windows=data.test_windows,
        ),
        training=replace(
            scenario.annealed, seed=own_seed, learning_rate=scenario.training.learning_rate * method.rate
        ),
        reference=reference_of(method, scenario.reference),
        evidence=evidence_of(trust_of(method, scenario.trust, fixed={})),
        merge=method.merge or scenario.merge,
        mixing=method.mixing,
    )


def _ends(world: World, scenario: Scenario, shares: Sequence[Share]) -> list[PeerEnd]:
    names = category_names(scenario.data.sources)
    return [
        PeerEnd(
            peer=node.id,
            name=node.config.name,
            category=names[int(share.tokens_C.argmax())],
            base_loss=next((one.test_loss for one in node.records if isinstance(one, Begun)), None),
            rounds=_rounds(node),
            sent=dict(node.sent),
            received=dict(node.received),
        )
        for node, share in zip(world.nodes, shares, strict=True)
    ]


def _rounds(node: Node) -> tuple[Round, ...]:
    """Each once: of a round that was repeated after a crash, the last record counts."""
    return tuple(record for member in members(node.history) for record in member.rounds.values())
