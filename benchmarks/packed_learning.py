"""Three peers of one language that take the mean of their adapters after each round, by updates of a given packing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from gossipllm.config import AdapterConfig, DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import cut, split, tokenise
from gossipllm.work import Merge, Merged, Open, Opened, Train, Trained
from wire.floats import F32
from wire.updates.packing import Packing
from wire.updates.units import decode_offered

PEERS: Final = 3
LANGUAGE: Final = "de"
ADAPTER: Final = AdapterConfig(rank=4, alpha=16.0)

Adapter = Mapping[str, F32]


def learners_of(packing: Packing, seed: int, rate: float) -> tuple[LearnerPool, list[Learner]]:
    data = DataConfig(path="-", window_tokens=64, trust_windows=4, test_windows=48)
    config = LearnerConfig(
        model=ModelConfig(device="cpu", threads=1),
        adapter=replace(ADAPTER, seed=f"wire sizes {seed}"),
        data=data,
        training=TrainingConfig(learning_rate=rate, seed=seed),
        evidence=(),
        packing=packing,
        clip=0.0,
    )
    pool = LearnerPool(config, lambda _name, _step: None)
    learners: list[Learner] = []
    for part in range(PEERS):
        text = demo_share(LANGUAGE, part=part, of=PEERS)
        windows_WT = cut(tokenise(text.splitlines(), pool.base.tokenizer), data.window_tokens)
        one = replace(config, training=replace(config.training, seed=seed * 100 + part))
        learners.append(pool.new_learner(one, split(windows_WT, data, seed=seed)))
    opened = pool.answer([(one, Open(request=1, config=config, snapshot=None)) for one in learners])
    assert all(isinstance(answer, Opened) for answer in opened), opened
    return pool, learners


def learned(
    packing: Packing, seed: int, *, rounds: int, steps: int, rate: float
) -> tuple[float, list[Adapter]]:
    """The peers' mean perplexity after the last merge, and what the first peer announced in each round."""
    pool, learners = learners_of(packing, seed, rate)
    schema = learners[0].shared.blueprint(learners[0].config.adapter).schema
    announced: list[Adapter] = []
    losses: list[float] = []
    for number in range(1, rounds + 1):
        asked = Train(request=2, round=number, steps=steps)
        trained = [
            one for one in pool.answer([(each, asked) for each in learners]) if isinstance(one, Trained)
        ]
        announced.append(decode_offered(trained[0].update.data, schema)[1])
        merges: list[tuple[Learner, Merge]] = []
        for index, learner in enumerate(learners):
            others = tuple(one.update for at, one in enumerate(trained) if at != index)
            merges.append((learner, Merge(request=3, row=(1 / PEERS,) * PEERS, updates=others)))
        merged = [one for one in pool.answer(merges) if isinstance(one, Merged)]
        losses = [one.test_merged for one in merged]
    assert len(losses) == PEERS, "every peer trained and merged"
    perplexity = float(np.exp(np.mean(losses)))
    print(f"seed {seed}, {packing}: perplexity {perplexity:.3f}", file=sys.stderr, flush=True)
    return perplexity, announced
