"""What surrounds the window that is trained: bits, fewer blocks, distilled ones, made here or fetched from others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import LayersConfig, LearnerConfig, TrainingConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.passes import contexts
from gossipllm.model.contexts.config import BlockWindow
from support.progress import silent
from wire.digest import Content

Config = Callable[..., LearnerConfig]


@pytest.mark.parametrize("context", ["none", "int8", "int4", "drop", "distil"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_window_learns_within_every_context(
    config: Config, context: Any, checkpoint: bool, pools: Any
) -> None:
    layers = LayersConfig(count=1, context=context, distil_steps=2, ratio=1.0, checkpoint=checkpoint)
    pool, learner, reply = pools.pool_of(config(layers=layers))
    before = reply.test_loss
    note, after = None, math.inf

    for number in range(1, 7):
        note = pools.train(pool, learner, number, units=pools.layer_units(reply, number % 2)).note
        after = pools.merge(pool, learner, (1.0,)).test_alone

    assert note == ""
    assert after < before, "measured on the whole base"


def test_checkpoints_are_kept_where_they_are_asked_for_and_nowhere_else(config: Config) -> None:
    pool = LearnerPool(config(), silent)
    held = contexts.ContextModels(pool.base, b"", pool.reference)

    def within(**settings: Any) -> Any:
        layers = LayersConfig(count=1, **settings)
        return held.within(BlockWindow(1), layers, given=None, on_distil=lambda: None).context_model

    assert within() is None, "the base as it is"
    assert within(checkpoint=True).checkpointed == BlockWindow(1)
    assert within(context="drop", checkpoint=True).checkpointed == BlockWindow(1)
    assert within(context="drop").checkpointed is None


def test_within_distilled_blocks_the_adapter_takes_no_part(config: Config, pools: Any) -> None:
    """Whatever it has become there: distilled blocks do the work of others."""
    training = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)
    made = config(layers=LayersConfig(count=1, context="distil", distil_steps=1), training=training)
    pool, fresh, reply = pools.pool_of(made)
    moved = pools.new_learner(pool, made)
    pools.opened(pool, moved)
    pools.train(pool, moved, 1, units=pools.layer_units(reply, 1))

    for learner in (fresh, moved):
        pools.train(pool, learner, 2, units=pools.layer_units(reply, 0))

    for name, value in fresh.state.items():
        assert np.array_equal(value, moved.state[name]) == (".layers.0." in name), name


def test_blocks_that_are_distilled_anew_do_the_work_of_this_peers_adapter(config: Config, pools: Any) -> None:
    """With as many students as blocks nothing is lost but by rounding, so the context predicts as the peer does."""
    training = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)
    layers = LayersConfig(count=1, context="distil", distil_steps=1, ratio=1.0)
    anew = replace(layers, distil_anew=True)
    losses: dict[bool, float] = {}
    for own in (True, False):
        pool, learner, reply = pools.pool_of(config(layers=anew if own else layers, training=training))
        for number in range(1, 5):
            pools.train(pool, learner, number, units=pools.layer_units(reply, 1))

        done = pools.train(pool, learner, 5, units=pools.layer_units(reply, 0))

        assert (done.contexts == ()) == own, "nobody else can use it"
        losses[own] = done.train_loss

    assert losses[True] < losses[False] - 0.05, "the other block has learned, too"


def test_a_context_that_one_made_another_trains_within(config: Config, pools: Any) -> None:
    layers = LayersConfig(count=1, context="distil", distil_steps=20, ratio=1.0)
    pool, maker, reply = pools.pool_of(config(layers=layers))
    fetching, fetcher, told = pools.pool_of(config(layers=replace(layers, contexts="fetch")))
    units = pools.layer_units(reply, 0)

    made = pools.train(pool, maker, units=units)
    without = pools.train(fetching, fetcher, units=units)
    (context,) = made.contexts
    again, clone, _ = pools.pool_of(config(layers=replace(layers, contexts="fetch")))
    within = pools.train(again, clone, units=units, context=context.content)

    assert reply.context_keys == told.context_keys
    assert len(set(reply.context_keys)) == 2
    assert context.key == reply.context_keys[0]
    assert "no context was fetched" in without.note
    assert without.update != made.update
    assert (within.note, within.context_refused, without.context_refused) == ("", False, False)
    assert within.update == made.update
    assert context.content.size <= told.context_bytes < 1.5 * context.content.size + 20_000
    assert pools.train(pool, maker, 2, units=units).contexts == (), "said once"


def test_a_context_that_is_none_is_not_used_and_stops_nobody(config: Config, pools: Any) -> None:
    layers = LayersConfig(count=1, context="distil", contexts="fetch", distil_steps=1)
    pool, learner, reply = pools.pool_of(config(layers=layers))

    done = pools.train(
        pool, learner, units=pools.layer_units(reply, 0), context=Content.of(b"nothing of the kind")
    )

    assert "not safetensors" in done.note
    assert done.context_refused


@pytest.mark.parametrize(("passes", "says"), [(False, "nats from the base"), (True, "training diverged")])
def test_a_context_of_wild_numbers_stops_nobody(
    config: Config, monkeypatch: pytest.MonkeyPatch, passes: bool, says: str, pools: Any
) -> None:
    """It is told by what it predicts, or, where that passes, by steps that give no numbers."""

    def as_near_as_can_be(*_: object) -> float:
        return 0.0

    if passes:
        monkeypatch.setattr(contexts, "fidelity", as_near_as_can_be)
    layers = LayersConfig(count=1, context="distil", distil_steps=1, ratio=1.0)
    pool, maker, reply = pools.pool_of(config(layers=layers))
    made = pools.train(pool, maker, units=pools.layer_units(reply, 0)).contexts[0].content.data
    head = 8 + int.from_bytes(made[:8], "little")
    # 2 ** 101 in bfloat16: no processor's order of sums keeps its products finite.
    wild = made[:head] + b"\x00\x72" * ((len(made) - head) // 2)
    fetching, fetcher, _ = pools.pool_of(config(layers=replace(layers, contexts="fetch")))

    done = pools.train(fetching, fetcher, units=pools.layer_units(reply, 0), context=Content.of(wild))

    assert says in done.note
    assert done.context_refused
    assert np.isfinite(done.train_loss)
