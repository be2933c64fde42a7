"""Adapters of which one factor travels at a time: share A and keep B (FedSA-LoRA), A and B in turn (RoLoRA)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.config.choices import TRAINS
from gossipllm.config.choices import Train as TrainedPart
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.work import Confirm, Confirmed, Finalist, Trained
from support.progress import silent
from wire.digest import Content
from wire.errors import WireError
from wire.updates.units import decode_offered, encode_offered

Config = Callable[..., LearnerConfig]
LONE = [name for name, traits in TRAINS.items() if not traits.sends_products]


def pool_of(config: Config, pools: Any, train: TrainedPart) -> tuple[LearnerPool, list[Learner]]:
    given = config(adapter=AdapterConfig(rank=4, alpha=8.0, train=train))
    pool = LearnerPool(given, silent)
    learners = [pools.new_learner(pool, given, seed) for seed in range(2)]
    for one in learners:
        pools.opened(pool, one)
    return pool, learners


def of(learner: Learner, end: str) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in learner.state.items() if name.endswith(end)}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())


def confirmed(pool: LearnerPool, learner: Learner, *updates: tuple[Content, Trained]) -> Confirmed:
    finalists = tuple(
        Finalist(
            author="ada", update=update, evidence=one.evidence if update == one.update else None, rows=(0,)
        )
        for update, one in updates
    )
    (reply,) = pool.answer([(learner, Confirm(request=4, finalists=finalists, share=0.25))])
    assert isinstance(reply, Confirmed), reply
    return reply


def test_with_a_shared_and_b_kept_both_are_trained_and_only_a_is_merged(config: Config, pools: Any) -> None:
    pool, (ada, bob) = pool_of(config, pools, "share-a")
    begun_a, begun_b = of(ada, "lora_A"), of(ada, "lora_B")
    pools.train(pool, ada, 0)
    theirs = pools.train(pool, bob, 0)
    assert not equal(begun_b, of(ada, "lora_B"))
    pools.train(pool, ada, 1)
    a, b = of(ada, "lora_A"), of(ada, "lora_B")
    assert not equal(begun_a, a)

    pools.merge(pool, ada, (0.5, 0.5), theirs)

    assert equal(b, of(ada, "lora_B"))
    for name, value in of(ada, "lora_A").items():
        np.testing.assert_allclose(value, (a[name] + bob.state[name]) / 2, atol=2e-3)


def test_in_turn_b_is_trained_first_and_then_a(config: Config, pools: Any) -> None:
    pool, (ada, _) = pool_of(config, pools, "alternate")
    for number, (moving, resting) in enumerate([("lora_B", "lora_A"), ("lora_A", "lora_B")] * 2):
        rests, moves = of(ada, resting), of(ada, moving)

        done = pools.train(pool, ada, number)

        assert equal(rests, of(ada, resting))
        assert not equal(moves, of(ada, moving))
        offered = ada.shared.blueprint(ada.config.adapter).schema.indices(done.offer)
        names = ada.shared.blueprint(ada.config.adapter).anatomy.names
        assert all(names[unit].endswith(moving) for unit in offered)


def test_in_turn_only_what_both_trained_is_merged(config: Config, pools: Any) -> None:
    pool, (ada, bob) = pool_of(config, pools, "alternate")
    pools.train(pool, ada, 0)
    pools.train(pool, bob, 0)
    behind = pools.train(pool, bob, 0)
    ahead = pools.train(pool, ada, 1)
    a, b = of(ada, "lora_A"), of(ada, "lora_B")

    pools.merge(pool, ada, (0.5, 0.5), behind)

    assert ahead.offer != behind.offer
    assert equal(a, of(ada, "lora_A")), "the neighbour trained B, which this peer keeps a part of"
    assert not equal(b, of(ada, "lora_B"))


@pytest.mark.parametrize("train", LONE)
def test_a_copy_and_an_untouched_start_are_found_among_single_factors(
    config: Config, pools: Any, train: TrainedPart
) -> None:
    pool, (ada, bob) = pool_of(config, pools, train)
    for number in (0, 1):
        pools.train(pool, ada, number)
        done = pools.train(pool, bob, number)
    form = ada.shared.blueprint(ada.config.adapter)
    offer, tensors = decode_offered(done.update.data, form.schema)
    start = {name: form.shared[name] for name in tensors}
    louder = {
        name: (start[name] + 1.5 * (value - start[name])).astype(np.float32)
        for name, value in tensors.items()
    }
    versions = [Content.of(encode_offered(each, form.schema, offer)) for each in (tensors, louder, start)]

    reply = confirmed(pool, ada, *((version, done) for version in versions))

    assert [one.twin for one in reply.results] == [0, 0, -1]
    assert np.isfinite(reply.results[0].gain)
    assert reply.results[0].mismatch == 0, "what the rest of the adapter is, nobody knows"


@pytest.mark.parametrize("train", LONE)
def test_single_factors_of_another_rank_are_refused(config: Config, pools: Any, train: TrainedPart) -> None:
    pool, (ada, _) = pool_of(config, pools, train)
    form = ada.shared.blueprint(replace(ada.config.adapter, rank=8))
    update = UpdateFormat(form, "parameters").encoded(form.start(0), form.start(0), form.own)

    with pytest.raises(WireError, match=r"offer\.rank"):
        UpdateFormat(ada.shared.blueprint(ada.config.adapter), "parameters").decoded(update)
    assert pool.base is not None
