"""The attackers of a run: real cores and learners beside the honest peers, whose publications are forged.

They hold text of the same kind that no honest peer holds; where there is too little of it, or where who holds what
depends on the number of peers, that of the honest peers in turn. Their devices are slower, so that they have heard the
honest announcements of a round before they publish theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from gossipllm.config import LearnerConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.dealing.partitions import Share
from gossipllm.text.windows import Splits
from peers.core.events import PeerId
from sim.adversaries.attacking_learner import Attacker, AttackingLearner
from sim.adversaries.intruder import Intruder, Town
from sim.adversaries.overheard import Overheard
from sim.adversaries.table import ADVERSARIES
from sim.adversaries.workshop import Workshop
from sim.experiments.configurations import attacker_config
from sim.experiments.methods import Method
from sim.experiments.scenarios import Scenario
from sim.experiments.shares import shares_of
from sim.world.fetching.question_queue import PooledLearner, QuestionQueue
from sim.world.keys import ToyKeys
from sim.world.trace import Happened
from sim.world.world import World
from trust.errors import UserMistake
from trust.rows.evidence import F64

LATER_S: Final = 1.0
"""Virtual seconds by which an attacker's local steps take longer than those of an honest device. With the default
conditions, announcements and blobs arrive within that time."""


class Attack:
    """The attackers of one world. `begin` and `listen` are for the world's owner to call."""

    def __init__(
        self,
        world: World,
        scenario: Scenario,
        method: Method,
        seed: int,
        *,
        queue: QuestionQueue[Any],
        pool: LearnerPool,
        shares: Sequence[Share],
        oracle_NN: F64,
    ) -> None:
        """Add the scenario's attackers to a world, after its honest peers."""
        self.ids: set[PeerId] = set()
        """All identities of attackers."""
        self._overheard = Overheard()
        self._intruder: Intruder | None = None
        if not scenario.attackers:
            return
        adversary, honest = ADVERSARIES[scenario.attack.name], tuple(world.nodes)
        texts = _texts(scenario, seed, pool, shares)
        for number in range(scenario.attacking_cores):
            config = attacker_config(scenario, method, seed, number, oracle_NN)
            keys = ToyKeys.of(f"{seed} {config.name}")
            self._overheard.attackers.add(len(world.nodes))
            self._overheard.keys.add(keys.public_key)
            fault = adversary.fault()
            attacker = Attacker(number, scenario.attackers, seed, fault, self._overheard)
            splits = fault.text(texts[number % len(texts)].splits, vocabulary=len(pool.base.tokenizer))
            world.add(
                config,
                _learner_factory(attacker, queue, pool, config.learner, splits),
                speed=_speed(scenario, number),
                keys=keys,
            )
        self.ids |= {node.id for node in world.nodes[len(honest) :]}
        if adversary.intruder is not None:
            self._intruder = adversary.intruder()
            config = attacker_config(scenario, method, seed, 0, oracle_NN).learner
            workshop = Workshop(pool.new_learner(config, texts[0].splits), config, texts[0].splits)
            self._town = Town(world, honest, world.nodes[len(honest) :], scenario.attackers, workshop)
            self.ids |= self._intruder.ids(scenario.attackers)

    def begin(self) -> None:
        """The world has begun."""
        if self._intruder is not None:
            self._intruder.begin(self._town)

    def listen(self, happened: Sequence[Happened]) -> None:
        """Everything that happened since the last call."""
        self._overheard.listen(happened)
        if self._intruder is not None:
            self._intruder.act(self._town, happened)


def _texts(scenario: Scenario, seed: int, pool: LearnerPool, shares: Sequence[Share]) -> Sequence[Share]:
    """Text for the attackers: the shares that so many more peers would be dealt after the honest ones."""
    if scenario.data.of_samples or scenario.data.partition.kind == "length":
        return shares
    try:
        return shares_of(scenario, seed, pool, more=max(1, scenario.attacking_cores))[len(shares) :]
    except UserMistake:
        return shares


def _speed(scenario: Scenario, number: int) -> float:
    compute = scenario.conditions.compute
    steps_s = scenario.round.steps * compute.step_s
    return steps_s / (steps_s / compute.speed_of(number % scenario.peers) + LATER_S)


def _learner_factory(
    attacker: Attacker,
    queue: QuestionQueue[Any],
    pool: LearnerPool,
    config: LearnerConfig,
    splits: Splits,
) -> Callable[[], AttackingLearner]:
    """A function that makes a new learner for each start of an attacker, and dismisses the one before."""
    present: list[AttackingLearner] = []

    def new_learner() -> AttackingLearner:
        if present:
            present.pop().dismiss()
        learner = pool.new_learner(config, splits)
        workshop = Workshop(learner, config, splits)
        present.append(AttackingLearner(attacker, PooledLearner(queue, learner), learner, workshop))
        return present[0]

    return new_learner
