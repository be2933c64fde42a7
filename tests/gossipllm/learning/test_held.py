"""A learner alone in its process, whose base is held in 8 or 4 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LayersConfig, LearnerConfig, TrainingConfig
from gossipllm.learning import shared_model
from gossipllm.learning.jobs.jobs import LossJob, ProbeJob
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool, answer, together
from gossipllm.learning.passes.memory.step_memory import step_bytes
from gossipllm.learning.shared_model import SharedModel, load_shared_model, load_text
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.model.blocks import blocks_of, linears_of
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.model.contexts.quantised import packed_in
from gossipllm.model.heap import LARGE_BYTES, SMALL_BYTES
from gossipllm.text.windows import load_splits
from gossipllm.work import (
    Evaluate,
    Evaluated,
    Fit,
    Merge,
    Merged,
    Open,
    Opened,
    Progress,
    Request,
    Train,
    Trained,
)
from wire.digest import Content
from wire.updates.units import Schema

Config = Callable[..., LearnerConfig]
BITS = ["int8", "int4"]


def silent(*_: object) -> None:
    pass


def ask(learner: Learner, request: Request) -> Any:
    (reply,) = together([(learner.answer(request, silent), learner)])
    return reply


def opened(learner: Learner, snapshot: Content | None = None) -> Opened:
    reply = ask(learner, Open(request=1, config=learner.config, snapshot=snapshot))
    assert isinstance(reply, Opened), reply
    return reply


def alone(config: LearnerConfig, snapshot: Content | None = None) -> tuple[Learner, Opened]:
    shared = load_shared_model(config, silent, alone=True)
    learner = Learner(config, shared, load_text(config, shared.base))
    return learner, opened(learner, snapshot)


def windowed(config: Config, context: Any, family: str = "llama", **sections: Any) -> LearnerConfig:
    return config(family, layers=LayersConfig(count=1, context=context), **sections)


def units_of(reply: Opened, layer: int) -> bytes:
    schema = Schema(reply.units, reply.codec)
    own = schema.indices(reply.offer)
    return schema.offer([i for i in own if schema.units[i].layer in (-1, layer)], reply.offer.rank).units


def train(learner: Learner, reply: Opened, number: int, layer: int, **asked: Any) -> Trained:
    done = ask(learner, Train(request=2, round=number, steps=3, units=units_of(reply, layer), **asked))
    assert isinstance(done, Trained), done
    return done


def measured(shared: SharedModel, config: LearnerConfig, state: Any) -> np.ndarray[Any, Any]:
    windows_WT = load_text(config, shared.base).test_WT
    (((losses_W,)),) = shared.fleet(config.adapter).perform([LossJob((state,), windows_WT, "test")])
    return losses_W


@pytest.mark.parametrize("context", BITS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_its_base_is_packed_and_called_what_it_is_called_elsewhere(
    config: Config, family: str, context: Any
) -> None:
    learner, reply = alone(windowed(config, context, family))
    blocks = blocks_of(learner.shared.base.model)

    assert packed_in(blocks)
    assert not linears_of(blocks), "and nothing else beside it"
    other = LearnerPool(windowed(config, "none", family), silent)
    there = other.new_learner(windowed(config, "none", family), learner_splits(other, learner))
    (elsewhere,) = other.answer([(there, Open(request=1, config=there.config, snapshot=None))])
    assert isinstance(elsewhere, Opened)
    assert reply.fingerprints == elsewhere.fingerprints
    # Random weights of 32 inputs are rounded more coarsely than trained ones.
    assert reply.test_loss == pytest.approx(elsewhere.test_loss, abs=1e-3 if context == "int8" else 3e-2)
    assert reply.test_loss != elsewhere.test_loss


def learner_splits(pool: LearnerPool, learner: Learner) -> Any:
    return load_splits(
        learner.config.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=0
    )


@pytest.mark.parametrize("context", BITS)
@pytest.mark.parametrize("kind", ["both", "b", "heads", "full", "bias", "all"])
def test_it_learns_window_by_window_whatever_is_trained(config: Config, kind: Any, context: Any) -> None:
    made = windowed(config, context, "gpt2", adapter=AdapterConfig(rank=4, alpha=8.0, train=kind))
    learner, reply = alone(made)

    for number in range(1, 6):
        train(learner, reply, number, number % 2)
    done = train(learner, reply, 6, 0, probe=True)

    assert done.trust_loss < reply.test_loss
    assert done.note == ""
    assert all(value is not None and value > 0 for value in done.importance), "a probe tells of all layers"


@pytest.mark.parametrize("context", BITS)
def test_what_it_measures_does_not_depend_on_the_window_that_was_trained_last(
    config: Config, context: Any
) -> None:
    made = windowed(config, context)
    learner, reply = alone(made)
    state = dict(learner.state)
    losses = [measured(learner.shared, made, state)]
    for number, layer in enumerate((0, 1, 0), start=1):
        train(learner, reply, number, layer)
        losses.append(measured(learner.shared, made, state))

    assert all(np.array_equal(one, losses[0]) for one in losses)
    assert not linears_of(blocks_of(learner.shared.base.model))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_probe_weighs_by_what_is_packed(config: Config, family: str) -> None:
    """Importance is (gradient * weight)^2, and of differences the weight is the base's, which lies there in 8 bits."""
    made = windowed(config, "int8", family, adapter=AdapterConfig(rank=4, alpha=8.0, train="full"))
    importances: list[tuple[float, ...]] = []
    for shared in (load_shared_model(made, silent, alone=True), load_shared_model(made, silent)):
        windows_BT = load_text(made, shared.base).train_WT[:4]
        state = shared.blueprint(made.adapter).start(0)
        (importance,) = shared.fleet(made.adapter).perform([ProbeJob(state, windows_BT)])
        importances.append(importance)

    np.testing.assert_allclose(importances[0], importances[1], rtol=0.05)


@pytest.mark.parametrize("context", BITS)
def test_it_goes_on_from_a_snapshot_bit_for_bit(config: Config, context: Any) -> None:
    made = windowed(config, context)
    straight, reply = alone(made)
    train(straight, reply, 1, 0)
    middle = train(straight, reply, 2, 1)
    want = train(straight, reply, 3, 1)

    again, told = alone(made, middle.snapshot)
    got = train(again, told, 3, 1)

    assert decode_snapshot(middle.snapshot.data).header.steps == 6
    assert (got.update, got.evidence, got.snapshot) == (want.update, want.evidence, want.snapshot)


@pytest.mark.parametrize("context", BITS)
def test_what_it_sends_merges_where_the_base_is_whole_and_the_other_way_round(
    config: Config, context: Any
) -> None:
    packed, reply = alone(config(layers=LayersConfig(count=1, context=context, missing="renorm")))
    whole, there = alone(config(layers=LayersConfig(count=1, missing="renorm")))
    ours, theirs = train(packed, reply, 1, 0), train(whole, there, 1, 1)

    for learner, update in ((whole, ours.update), (packed, theirs.update)):
        tried = ask(learner, Evaluate(request=3, rows=((0.5, 0.5),), updates=(update,)))
        merged = ask(learner, Merge(request=4, row=(0.5, 0.5), updates=(update,)))
        assert isinstance(tried, Evaluated)
        assert isinstance(merged, Merged)
        assert tried.losses == (merged.trust_loss,)
        assert merged.test_merged < reply.test_loss

    for name, value in whole.state.items():
        np.testing.assert_allclose(value, packed.state[name], atol=2e-3, err_msg=name)


def test_a_row_is_learned_through_packed_blocks(config: Config) -> None:
    learner, reply = alone(windowed(config, "int4"))
    other, _ = alone(windowed(config, "int4"))
    train(learner, reply, 1, 0)
    theirs = train(other, reply, 1, 1)

    fitted = ask(learner, Fit(request=3, row=(1.0, 0.0), updates=(theirs.update,), steps=3, rate=0.1))

    assert np.isfinite(fitted.losses).all()
    assert sum(fitted.row) == pytest.approx(1)


def test_a_window_that_diverges_leaves_the_base_packed(config: Config) -> None:
    wild = TrainingConfig(batch_windows=4, learning_rate=1.0, warmup_steps=0, optimiser="sgd")
    learner, reply = alone(windowed(config, "int8", training=wild))
    state = {name: np.full_like(value, np.nan) for name, value in learner.state.items()}
    learner._memory.now = replace(learner._memory.now, state=state)

    with pytest.raises(Exception, match="diverged"):
        train(learner, reply, 1, 0)

    assert not linears_of(blocks_of(learner.shared.base.model))


def test_checkpoints_are_kept_on_the_packed_base_itself(config: Config) -> None:
    made = config(layers=LayersConfig(count=1, context="int8", checkpoint=True))
    learner, reply = alone(made)
    plain, _ = alone(windowed(config, "int8"))

    within = learner.shared.contexts.within(BlockWindow(1), made.layers, given=None, on_distil=silent)
    assert within.context_model is not None
    assert within.context_model.model is learner.shared.base.model
    assert train(learner, reply, 1, 1).update == train(plain, reply, 1, 1).update


def test_learners_that_share_a_base_leave_it_whole(config: Config) -> None:
    pool = LearnerPool(windowed(config, "int8"), silent)

    assert not packed_in(pool.base.model)


@pytest.mark.parametrize("context", ["none", "drop"])
def test_other_contexts_leave_the_base_whole_also_where_it_is_alone(config: Config, context: Any) -> None:
    learner, _ = alone(windowed(config, context))

    assert not packed_in(learner.shared.base.model)


def test_memory_is_estimated_by_what_is_held(config: Config) -> None:
    """So that a peer that is alone trains more blocks in the same memory."""
    needed: dict[tuple[str, bool], list[int]] = {}
    for context, one in (("none", True), ("int8", True), ("int8", False), ("int4", True)):
        made = windowed(config, context)
        shared = load_shared_model(made, silent, alone=one)
        blueprint = shared.blueprint(made.adapter)
        needed[context, one] = [step_bytes(made, shared.base, blueprint, count) for count in (1, 2)]

    assert (
        needed["int4", True][0] < needed["int8", True][0] < needed["none", True][0] < needed["int8", False][0]
    )
    assert needed["int4", True][1] == needed["none", True][1], "with every block open nothing is saved"


@pytest.mark.parametrize("memory_mb", [0, 1000])
def test_a_device_opens_such_a_base_and_gives_back_smaller_tensors_where_memory_is_bounded(
    config: Config, memory_mb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(shared_model, "release_tensors_at_once", given_back.append)
    told: list[Progress] = []
    layers = LayersConfig(count=0 if memory_mb else 1, memory_mb=memory_mb, context="int8")
    asked = Open(request=1, config=config("llama", layers=layers), snapshot=None)

    learner, reply = answer(None, asked, told.append)

    assert isinstance(reply, Opened), reply
    assert learner is not None
    assert all(packed_in(block) for block in blocks_of(learner.shared.base.model))
    assert given_back == [SMALL_BYTES if memory_mb else LARGE_BYTES]
    assert told[0].phase == "model"
