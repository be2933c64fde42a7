"""The text of each peer of a run, dealt by the scenario's partition."""

from __future__ import annotations

from typing import Any

from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.text.partitions import Category, Share, partition
from gossipllm.text.sample_partitions import partition_samples
from gossipllm.text.samples import padding_id
from sim.experiments.scenarios import Scenario
from sim.experiments.texts import load_categories
from trust.errors import UserMistake


def shares_of(scenario: Scenario, seed: int, pool: LearnerPool, *, more: int = 0) -> tuple[Share, ...]:
    """Each peer's share of the texts, a function of the seed, and the shares of so many `more` peers after them.
    Raises `UserMistake` where there is too little text."""
    data = scenario.data
    if data.window_tokens > pool.base.context_length:
        raise UserMistake(
            f"data.window_tokens is {data.window_tokens}, but the model takes at most {pool.base.context_length} tokens"
        )
    categories = _categories(scenario, pool.base.tokenizer)
    if data.of_samples:
        return partition_samples(
            categories,
            data.partition,
            peers=scenario.peers + more,
            train_samples=data.train_samples,
            trust_samples=data.trust_samples,
            test_samples=data.test_samples,
            seed=seed,
            pad=padding_id(pool.base.tokenizer),
        )
    return partition(
        categories, data.partition, peers=scenario.peers + more, window_tokens=data.window_tokens, seed=seed
    )


_loaded: dict[object, tuple[Category, ...]] = {}


def _categories(scenario: Scenario, tokenizer: Any) -> tuple[Category, ...]:
    """The scenario's categories, tokenised once for all runs of a process."""
    data = scenario.data
    partition = data.partition
    key = (scenario.model.name, data.sources, data.window_tokens, partition.kind, partition.chunk_tokens)
    if key not in _loaded:
        _loaded[key] = load_categories(data.sources, tokenizer, partition, longest=data.window_tokens)
    return _loaded[key]
