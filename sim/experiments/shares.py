"""The text of each peer of a run, dealt by the scenario's partition, read with the peer's tokenizer, and changed by the
method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, assert_never

import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.model.loading.models import tokenizer_fingerprint
from gossipllm.text.dealing.partitions import Category, Share, partition
from gossipllm.text.dealing.sample_partitions import partition_samples
from gossipllm.text.reference import reference_texts
from gossipllm.text.samples import padding_id
from gossipllm.text.windows import Windows, cut, tokenise
from sim.experiments.methods import Method
from sim.experiments.retokenised import retokenised
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


def read_by_peers(
    shares: Sequence[Share], configs: Sequence[LearnerConfig], pool: LearnerPool
) -> tuple[Share, ...]:
    """The dealt shares in the tokens of each peer's own model. Raises `UserMistake` where a model's context is too
    short, or where samples would have to be cut anew."""
    found: list[Share] = []
    for share, config in zip(shares, configs, strict=True):
        base, length = pool.base_of(config), share.splits.train_WT.shape[1]
        if length > base.context_length:
            raise UserMistake(
                f"data.window_tokens is {length}, but {config.model.name} takes at most {base.context_length} tokens"
            )
        if tokenizer_fingerprint(base.tokenizer) == tokenizer_fingerprint(pool.base.tokenizer):
            found.append(share)
            continue
        if any((windows_WT < 0).any() for windows_WT in (share.splits.train_WT, share.splits.test_WT)):
            raise UserMistake(
                "devices.models: samples, and text of which only answers bear loss, need equal tokenizers"
            )
        found.append(retokenised(share, pool.base.tokenizer, base.tokenizer))
    return tuple(found)


def with_text_of(
    method: Method, shares: Sequence[Share], scenario: Scenario, pool: LearnerPool
) -> tuple[Share, ...]:
    """The shares with the training text that the method gives its peers. Raises `UserMistake` for samples, whose
    windows differ in length."""
    if method.text != "own" and scenario.data.of_samples:
        raise UserMistake(
            "methods that change the training text need running text, and data.sources are samples"
        )
    match method.text:
        case "own":
            return tuple(shares)
        case "trust":
            return tuple(_trained_on(share, share.splits.train_WT, share.splits.trust_WT) for share in shares)
        case "public":
            public_WT = _public_windows(scenario, pool.base.tokenizer)
            return tuple(_trained_on(share, share.splits.train_WT, public_WT) for share in shares)
        case "kind":
            kinds = [int(share.tokens_C.argmax()) for share in shares]
            return tuple(
                _trained_on(
                    share,
                    *(other.splits.train_WT for its, other in zip(kinds, shares, strict=True) if its == kind),
                )
                for kind, share in zip(kinds, shares, strict=True)
            )
        case "all":
            everybody_WT = [share.splits.train_WT for share in shares]
            return tuple(_trained_on(share, *everybody_WT) for share in shares)
        case _:
            assert_never(method.text)


def _trained_on(share: Share, *parts_WT: Windows) -> Share:
    return replace(share, splits=replace(share.splits, train_WT=np.concatenate(parts_WT)))


def _public_windows(scenario: Scenario, tokenizer: Any) -> Windows:
    texts = reference_texts(scenario.reference).values()
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return cut(tokenise(lines, tokenizer), scenario.data.window_tokens)


_loaded: dict[object, tuple[Category, ...]] = {}


def _categories(scenario: Scenario, tokenizer: Any) -> tuple[Category, ...]:
    """The scenario's categories, tokenised once for all runs of a process."""
    data = scenario.data
    partition = data.partition
    key = (scenario.model.name, data.sources, data.window_tokens, partition.kind, partition.chunk_tokens)
    if key not in _loaded:
        _loaded[key] = load_categories(data.sources, tokenizer, partition, longest=data.window_tokens)
    return _loaded[key]
