"""Learners that train, send and merge a part of their adapter; and unlike ones in one pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, LearnerConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.text.windows import Splits, load_splits
from gossipllm.work import Evaluate, Evaluated, Train, Weigh, Weighed
from support.progress import silent
from trust.errors import UserMistake
from wire.digest import Content
from wire.updates.units import Schema, decode_offered

Config = Callable[..., LearnerConfig]


@pytest.mark.parametrize("kind", ["both", "b", "heads", "full", "bias", "all"])
def test_a_window_is_trained_offered_and_measured_alone(config: Config, kind: Any, pools: Any) -> None:
    made = config("gpt2", adapter=AdapterConfig(rank=4, alpha=8.0, train=kind), layers=LayersConfig(count=1))
    pool, learner, reply = pools.pool_of(made)
    before = dict(learner.state)

    done = pools.train(pool, learner, units=pools.layer_units(reply, 1))

    assert (reply.layers, reply.window) == (2, 1)
    offer, sent = decode_offered(done.update.data, Schema(reply.units, reply.codec))
    assert offer == done.offer
    assert sent
    assert not any(".h.0." in name for name in sent)
    changed = {name for name, value in learner.state.items() if not np.array_equal(value, before[name])}
    assert changed
    outside = (".ln_f.", ".wte.") if kind == "all" else (".ln_f.",)
    assert all(any(part in name for part in (".h.1.", *outside)) for name in changed)
    assert done.importance[0] is None
    assert done.importance[1] is not None
    assert done.importance[1] > 0


def test_a_probe_tells_of_all_layers(config: Config, pools: Any) -> None:
    pool, learner, reply = pools.pool_of(config(layers=LayersConfig(count=1)))

    done = pools.train(pool, learner, units=pools.layer_units(reply, 0), probe=True)

    assert all(value is not None and value > 0 for value in done.importance)
    assert pool.meter.backward["probe"] > 0


def test_who_trains_all_layers_tells_of_none(config: Config, pools: Any) -> None:
    pool, learner, reply = pools.pool_of(config())

    assert pools.train(pool, learner).importance == ()
    assert (reply.window, reply.context_keys, reply.mass) == (0, (), 0)


def test_peers_of_two_windows_give_each_other_what_they_trained(config: Config, pools: Any) -> None:
    made = config(layers=LayersConfig(count=1, missing="renorm"))
    pool, learner, reply = pools.pool_of(made)
    other = pools.new_learner(pool, made, 1)
    pools.opened(pool, other)
    pools.train(pool, learner, units=pools.layer_units(reply, 0))
    mine = dict(learner.state)
    theirs = pools.train(pool, other, units=pools.layer_units(reply, 1))

    (tried,) = pool.answer([(learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,)))])
    merged = pools.merge(pool, learner, (0.5, 0.5), theirs)

    assert isinstance(tried, Evaluated)
    assert tried.losses == (merged.trust_loss,), "what was tried is what is merged"
    for name, value in learner.state.items():
        if ".layers.0." in name:
            assert np.array_equal(value, mine[name]), "nobody else held it"
        else:
            np.testing.assert_allclose(value, other.state[name], atol=2e-3, err_msg=name)


@pytest.mark.parametrize("evidence", ["predictions", "weights", "validation"])
def test_another_window_is_weighed_and_evaluated(config: Config, evidence: Any, pools: Any) -> None:
    made = config(layers=LayersConfig(count=1), evidence=(evidence,))
    pool, learner, reply = pools.pool_of(made)
    other = pools.new_learner(pool, made, 1)
    pools.opened(pool, other)
    pools.train(pool, learner, units=pools.layer_units(reply, 0))
    theirs = pools.train(pool, other, units=pools.layer_units(reply, 1))

    weighed, tried = pool.answer(
        [
            (learner, Weigh(request=3, author="x", update=theirs.update, evidence=theirs.evidence)),
            (learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,))),
        ]
    )

    assert isinstance(weighed, Weighed)
    assert isinstance(tried, Evaluated)
    assert np.isfinite([*weighed.distances, *tried.losses]).all()


def test_a_neighbour_is_weighed_by_the_tokens_by_which_its_merge_is_evaluated(
    config: Config, pools: Any
) -> None:
    """Trust windows that hold unlike numbers of tokens, as samples do."""
    made = config(evidence=("validation",))
    pool = LearnerPool(made, silent)
    splits = load_splits(made.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=0)
    trust_WT = splits.trust_WT.copy()
    for window, window_T in enumerate(trust_WT[:8]):
        window_T[3 * window + 2 :] = ~window_T[3 * window + 2 :]
    # The test windows are the same ones, so that losses on both can be compared.
    learner = pool.new_learner(made, Splits(splits.train_WT, trust_WT, trust_WT))
    other = pools.new_learner(pool, made, 1)
    pools.opened(pool, learner)
    pools.opened(pool, other)
    mine, theirs = pools.train(pool, learner), pools.train(pool, other)

    weighed, tried = pool.answer(
        [
            (learner, Weigh(request=3, author="x", update=theirs.update, evidence=theirs.evidence)),
            (learner, Evaluate(request=4, rows=((0.0, 1.0),), updates=(theirs.update,))),
        ]
    )

    assert isinstance(weighed, Weighed)
    assert isinstance(tried, Evaluated)
    assert weighed.distances[0] == pytest.approx(tried.losses[0] - mine.trust_loss, abs=1e-5)
    assert weighed.errors[0] == pytest.approx(tried.errors[0], rel=1e-3)
    assert pools.merge(pool, learner, (1.0,)).test_alone == pytest.approx(mine.trust_loss, abs=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        LayersConfig(count=1),
        LayersConfig(count=1, context="int8"),
        LayersConfig(count=1, context="distil", distil_steps=2, checkpoint=True),
    ],
)
def test_a_learner_that_was_closed_between_windows_goes_on_bit_for_bit(
    config: Config, layers: Any, pools: Any
) -> None:
    made = config(layers=layers)
    pool, straight, reply = pools.pool_of(made)
    first, second = pools.layer_units(reply, 0), pools.layer_units(reply, 1)
    pools.train(pool, straight, 1, units=first)
    middle = pools.train(pool, straight, 2, units=second)
    want = pools.train(pool, straight, 3, units=second)

    again_pool, again, _ = pools.pool_of(made)
    pools.opened(again_pool, again, middle.snapshot)
    got = pools.train(again_pool, again, 3, units=second)

    header = decode_snapshot(middle.snapshot.data).header
    assert (header.steps, header.since) == (6, 3)
    assert (got.update, got.snapshot, got.offer) == (want.update, want.snapshot, want.offer)


def test_a_snapshot_remembers_what_was_trained_for_the_merge(config: Config, pools: Any) -> None:
    made = config(layers=LayersConfig(count=1))
    pool, learner, reply = pools.pool_of(made)
    done = pools.train(pool, learner, units=pools.layer_units(reply, 0))
    other = pools.new_learner(pool, made, 1)
    pools.opened(pool, other)
    theirs = pools.train(pool, other, units=pools.layer_units(reply, 1))
    again = pools.new_learner(pool, made)
    pools.opened(pool, again, done.snapshot)

    merged = [pools.merge(pool, one, (0.5, 0.5), theirs).snapshot for one in (learner, again)]

    assert list(again.state) == list(learner.state), "safetensors knows no order, but sums depend on it"
    assert merged[0] == merged[1]


def test_ranks_and_modules_differ_in_one_pool(config: Config, pools: Any) -> None:
    made = config()
    pool = LearnerPool(made, silent)
    adapters = [
        AdapterConfig(rank=4, alpha=8.0),
        AdapterConfig(rank=2, alpha=8.0),
        AdapterConfig(rank=4, alpha=8.0, modules=("q_proj", "v_proj")),
    ]
    learners = [
        pools.new_learner(pool, replace(made, adapter=adapter), seed) for seed, adapter in enumerate(adapters)
    ]
    replies = [pools.opened(pool, one) for one in learners]

    done: list[Any] = pool.answer([(one, Train(request=2, round=1, steps=3)) for one in learners])
    for index, learner in enumerate(learners):
        others = [one for other, one in enumerate(done) if other != index]
        pools.merge(pool, learner, (0.4, 0.3, 0.3), *others)

    assert len({reply.fingerprints for reply in replies}) == 1, "one network"
    assert [reply.offer.rank for reply in replies] == [4, 2, 4]
    assert len({one.update.size for one in done}) == 3
    for learner, adapter in zip(learners, adapters, strict=True):
        assert {value.shape[0] for name, value in learner.state.items() if name.endswith("_A")} == {
            adapter.rank
        }


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("mode", ["mask", "subnet"])
def test_owned_heads_are_trained_and_offered_and_no_other_moves(
    config: Config, family: str, mode: Any, pools: Any
) -> None:
    adapter = AdapterConfig(rank=4, alpha=8.0, train="heads")
    pool, learner, reply = pools.pool_of(
        config(family, adapter=adapter, heads=HeadsConfig(copies=1, mode=mode))
    )
    units = range(0, len(reply.units), 2)
    mine = Schema(reply.units, reply.codec).offer(units, 4).units
    before = dict(learner.state)

    done = pools.train(pool, learner, 1, units=mine)
    for number in range(2, 4):
        done = pools.train(pool, learner, number, units=mine)

    assert done.offer.units == mine
    assert done.importance == ()
    masks = learner.fleet.blueprint.masks_of(list(units))
    assert masks is not None
    for name, value in learner.state.items():
        others = masks.get(name, np.zeros_like(value)) == 0
        assert np.array_equal(value[others], before[name][others]), name
    assert done.trust_loss < reply.test_loss


def test_what_only_own_heads_compute_is_another_step(config: Config, pools: Any) -> None:
    """Both learn; the first within all heads, the second within its own, which speak for all."""
    adapter, updates = AdapterConfig(rank=4, alpha=8.0, train="heads"), list[Content]()
    for mode in ("mask", "subnet"):
        pool, learner, reply = pools.pool_of(config(adapter=adapter, heads=HeadsConfig(copies=1, mode=mode)))
        schema = Schema(reply.units, reply.codec)
        updates.append(pools.train(pool, learner, units=schema.offer([0], 4).units).update)

    assert updates[0] != updates[1]


def test_a_base_that_has_no_such_window_is_said_in_one_line(config: Config, pools: Any) -> None:
    pool = LearnerPool(config(), silent)
    wide = config(layers=LayersConfig(count=9))

    with pytest.raises(UserMistake, match=r"layers\.count is 9"):
        pools.new_learner(pool, wide)
