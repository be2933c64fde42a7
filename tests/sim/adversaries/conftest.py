"""Real learners on the embedded model, and what an attacker among them knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.work import Train, Trained
from sim.adversaries.fault import Artefact, Scene
from sim.adversaries.workshop import Workshop
from support.adversaries import CONFIG, Answers, MakeScene, splits


@pytest.fixture(scope="session")
def pool():
    threads = torch.get_num_threads()
    yield LearnerPool(CONFIG, lambda _phase, _step: None)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained(pool: LearnerPool) -> Answers:
    """Four learners after a step, with their answers and the adapters before it; the first is the attacker's."""
    learners = [
        pool.new_learner(replace(CONFIG, training=replace(CONFIG.training, seed=seed)), splits(seed))
        for seed in range(4)
    ]
    starts = [one.state for one in learners]
    answers = pool.answer([(one, Train(request=1, round=0, steps=1)) for one in learners])
    found: Answers = []
    for learner, answer, start in zip(learners, answers, starts, strict=True):
        assert isinstance(answer, Trained)
        found.append((learner, answer, start))
    return found


@pytest.fixture
def scene(trained: Answers) -> MakeScene:
    """A function that makes the attacker's scene, with the other three as honest peers and with any other fields."""
    mine, _, start = trained[0]
    workshop = Workshop(mine, CONFIG, splits(0))

    def make(**changes: object) -> Scene:
        known = {
            f"peer-{number}": Artefact(learner.state, answer.evidence)
            for number, (learner, answer, _) in enumerate(trained[1:])
        }
        whole = Scene(
            round=0,
            number=0,
            attackers=3,
            state=mine.state,
            start=start,
            known=known,
            workshop=workshop,
            random=np.random.default_rng(0),
        )
        return replace(whole, **changes)

    return make
