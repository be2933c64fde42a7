"""Configurations of the cores and learners of a run, from its scenario, method and seed."""

from __future__ import annotations

from dataclasses import replace

from gossipllm.config import DataConfig, LearnerConfig, TrainingConfig
from gossipllm.randomness import words
from peers.core.config import CoreConfig
from sim.experiments.method_settings import defence_of, reference_of, round_of, settle_of
from sim.experiments.methods import Method, trust_of
from sim.experiments.scenarios import Scenario
from trust.rows.config import alpha_of, evidence_of
from trust.rows.evidence import F64


def core_config(scenario: Scenario, method: Method, seed: int, index: int, oracle_NN: F64) -> CoreConfig:
    given = {
        name: float(weight)
        for j, (name, weight) in enumerate(zip(scenario.names, oracle_NN[index], strict=True))
        if j != index and weight > 0
    }
    return CoreConfig(
        name=scenario.names[index],
        network="simulation",
        round=round_of(
            method,
            replace(scenario.round, steps=scenario.devices.steps_of(index, scenario.round.steps)),
            peers=scenario.peers + scenario.attacking_cores,
        ),
        trust=trust_of(method, scenario.trust, fixed=given),
        defence=defence_of(method, scenario.defence, guard=scenario.round.guard),
        settle=settle_of(method, scenario.settle, guard=scenario.round.guard),
        learner=learner_config(scenario, method, seed, index),
        merges=method.merges,
    )


def attacker_config(scenario: Scenario, method: Method, seed: int, number: int, oracle_NN: F64) -> CoreConfig:
    """The core of attacker `number`: that of a peer whose text it holds, under another name and with batches of its
    own."""
    like = core_config(scenario, method, seed, number % scenario.peers, oracle_NN)
    learner = learner_config(scenario, method, seed, scenario.peers + number)
    return replace(like, name=f"attacker-{number}", learner=learner)


def training_of(method: Method, scenario: Scenario, *, seed: int, index: int = 0) -> TrainingConfig:
    """The training of peer `index`, with the method's factors. A schedule that lasts the whole run lasts as long as the
    peer's and the method's steps do; with +decay there is none. Unless the scenario says otherwise, passes repeat those
    of earlier versions to the last bit."""
    training = scenario.training if method.decay else scenario.annealed_of(index)
    return replace(
        training,
        seed=seed,
        learning_rate=training.learning_rate * method.rate,
        batch_windows=training.batch_windows * method.batch,
        batch_tokens=training.batch_tokens * method.batch,
        decay_steps=training.decay_steps * method.steps,
        arithmetic="plain" if training.arithmetic == "auto" else training.arithmetic,
    )


def learner_config(scenario: Scenario, method: Method, seed: int, index: int) -> LearnerConfig:
    """Learner configuration of peer `index`.

    Peers of one run differ in the seed of their batches. Runs of unlike seeds also differ in the initial A, and share
    the reference set.
    """
    data, config = scenario.data, scenario.learner(method, index)
    trust = trust_of(method, scenario.trust, fixed={})
    rounds = round_of(method, scenario.round, peers=scenario.peers)
    reference = replace(
        reference_of(method, scenario.reference, retains=bool(scenario.training.retain)),
        coding=scenario.coding,
    )
    own_data = DataConfig(
        window_tokens=data.window_tokens,
        trust_windows=data.trust_windows,
        weigh_windows=data.weigh_windows,
        test_windows=data.test_windows,
    )
    own_seed = int(words("gossipllm/simulation/1", (seed, index), 1)[0]) >> 1
    return replace(
        config,
        model=config.model if config.model.threads else replace(config.model, threads=1),
        adapter=replace(config.adapter, seed=f"{config.adapter.seed} {seed}"),
        # Public text is read beside windows of bytes, which methods that predict nothing do not have.
        data=scenario.devices.data(index, own_data) if reference.by_bytes else own_data,
        training=training_of(method, scenario, seed=own_seed, index=index),
        reference=reference,
        evidence=evidence_of(trust),
        tokens_alpha=alpha_of(trust, scenario.training.reduction),
        judging=rounds.guard and defence_of(method, scenario.defence, guard=scenario.round.guard).fresh,
    )
