"""A learner whose neighbours are mixed into a second adapter beside its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.config.choices import MIXINGS, Mixing, Outer
from gossipllm.learning.composition.gates import held_back
from gossipllm.learning.composition.parts import own_part, rest_part
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.model.loading.models import load_base
from gossipllm.tasks.mounting import folder_on, snapshot_on
from gossipllm.work import Confirm, Confirmed, Evaluate, Evaluated, Finalist, Fit, Fitted
from support.progress import silent

Config = Callable[..., LearnerConfig]
BESIDE = [name for name, traits in MIXINGS.items() if traits.beside]
FAST = TrainingConfig(batch_windows=4, learning_rate=1e-2)


def learners_of(given: LearnerConfig, pools: Any) -> tuple[LearnerPool, list[Learner]]:
    pool = LearnerPool(given, silent)
    learners = [pools.new_learner(pool, given, seed) for seed in range(2)]
    for one in learners:
        pools.opened(pool, one)
    return pool, learners


def parts(learner: Learner) -> tuple[dict[str, Any], dict[str, Any]]:
    form = learner.shared.blueprint(learner.config.adapter)
    gates = decode_snapshot(learner.snapshot().data).header.gates
    return own_part(form, learner.state), rest_part(form, learner.state, gates)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("mixing", BESIDE)
def test_a_merge_leaves_the_own_part_and_local_steps_leave_the_rest(
    config: Config, pools: Any, mixing: Mixing
) -> None:
    pool, (ada, bob) = learners_of(config(mixing=mixing, training=FAST), pools)
    pools.train(pool, ada)
    theirs = pools.train(pool, bob)
    own, rest = parts(ada)

    pools.merge(pool, ada, (0.5, 0.5), theirs)

    assert equal(own, parts(ada)[0])
    assert not equal(rest, parts(ada)[1])
    mixed = parts(ada)[1]
    pools.train(pool, ada, 2)
    assert not equal(own, parts(ada)[0])
    for name, value in parts(ada)[1].items():
        np.testing.assert_allclose(value, mixed[name], rtol=1e-4, atol=1e-7, err_msg="but for its gate")


def test_it_publishes_its_own_part_alone(config: Config, pools: Any) -> None:
    """Another peer finds the predictions to be those of the update, whatever was mixed in beside it."""
    given = config(mixing="beside", training=FAST)
    pool, (ada, bob) = learners_of(given, pools)
    pools.merge(pool, ada, (0.2, 0.8), pools.train(pool, bob))
    done = pools.train(pool, ada, 2)
    finalist = Finalist(author="ada", update=done.update, evidence=done.evidence, rows=(0, 3))

    (reply,) = pool.answer([(bob, Confirm(request=3, finalists=(finalist,), share=0.1))])

    assert isinstance(reply, Confirmed)
    assert reply.results[0].mismatch < 0.02
    assert done.offer.rank == given.adapter.rank


def test_trials_of_one_neighbour_and_of_rows_agree_and_the_row_that_keeps_everything_changes_nothing(
    config: Config, pools: Any
) -> None:
    given = config(mixing="beside", training=FAST)
    given = replace(given, data=replace(given.data, weigh_windows=given.data.trust_windows))
    pool, (ada, bob) = learners_of(given, pools)
    own, theirs = pools.train(pool, ada), pools.train(pool, bob)
    finalist = Finalist(author="bob", update=theirs.update)

    (tried,) = pool.answer([(ada, Confirm(request=3, finalists=(finalist,), share=0.25))])
    rows = ((0.75, 0.25), (1.0, 0.0))
    (measured,) = pool.answer([(ada, Evaluate(request=4, rows=rows, updates=(theirs.update,)))])

    assert isinstance(tried, Confirmed)
    assert isinstance(measured, Evaluated)
    assert measured.losses[1] == own.trust_loss
    assert tried.results[0].gain == pytest.approx(own.trust_loss - measured.losses[0], abs=1e-5)


def test_a_learned_row_is_learned_for_what_a_merge_by_it_gives(config: Config, pools: Any) -> None:
    pool, (ada, bob) = learners_of(config(mixing="beside", merge="mean", training=FAST), pools)
    pools.train(pool, ada)
    theirs = pools.train(pool, bob)
    fit = Fit(request=3, row=(0.5, 0.5), updates=(theirs.update,), steps=1, rate=0.1)

    (fitted,) = pool.answer([(ada, fit)])

    assert isinstance(fitted, Fitted)
    merged = pools.merge(pool, ada, (0.5, 0.5), theirs)
    assert fitted.losses[0] == pytest.approx(merged.trust_loss, rel=1e-3)


def test_gates_are_fitted_to_text_that_is_neither_trained_on_nor_judged_by(
    config: Config, pools: Any
) -> None:
    train_WT, held_WT = held_back(np.arange(160, dtype=np.int32).reshape(40, 4))
    assert len(held_WT) == 5
    assert len(np.unique(np.concatenate([train_WT, held_WT]))) == 160
    assert not len(held_back(train_WT[:7])[1]), "too little text for gates"

    pool, (ada, bob) = learners_of(config(mixing="beside", training=FAST), pools)
    pools.train(pool, ada)
    pools.merge(pool, ada, (0.2, 0.8), pools.train(pool, bob))
    before = decode_snapshot(ada.snapshot().data).header.gates
    pools.train(pool, ada, 2)
    after = decode_snapshot(ada.snapshot().data).header.gates

    assert before != after
    assert all(gate > 0 for gate in after)


@pytest.mark.parametrize(
    "given",
    [{"mixing": mixing} for mixing in BESIDE] + [{"outer": kind} for kind in ("nesterov", "noloco")],
)
def test_it_resumes_as_it_was(config: Config, pools: Any, given: dict[str, Any]) -> None:
    whole = config(training=FAST, **given)
    pool, (ada, bob) = learners_of(whole, pools)
    pools.train(pool, ada)
    theirs = pools.train(pool, bob)
    pools.merge(pool, ada, (0.5, 0.5), theirs)
    again = pools.new_learner(pool, whole)

    pools.opened(pool, again, ada.snapshot())

    assert again.snapshot() == ada.snapshot()
    one, other = pools.train(pool, ada, 2), pools.train(pool, again, 2)
    assert one.update == other.update
    kept, resumed = (pools.merge(pool, each, (0.5, 0.5), theirs) for each in (ada, again))
    assert kept.snapshot == resumed.snapshot


@pytest.mark.parametrize("kind", ["nesterov", "noloco"])
def test_a_peer_that_is_killed_before_it_merges_moves_as_far_as_one_that_was_not(
    config: Config, pools: Any, kind: Outer
) -> None:
    """Momentum is of the move since the round began, so where it began is saved with what was trained."""
    whole = config(outer=kind, training=FAST)
    pool, (ada, bob) = learners_of(whole, pools)
    theirs = pools.train(pool, bob)
    pools.train(pool, ada)
    pools.merge(pool, ada, (0.5, 0.5), theirs)
    trained = pools.train(pool, ada, 2)
    again = pools.new_learner(pool, whole)
    pools.opened(pool, again, trained.snapshot)

    kept, resumed = (pools.merge(pool, each, (0.5, 0.5), theirs) for each in (ada, again))

    assert kept.snapshot == resumed.snapshot


@pytest.mark.parametrize("kind", ["nesterov", "noloco"])
def test_outer_momentum_changes_what_is_judged_and_what_is_taken_alike(
    config: Config, pools: Any, kind: Outer
) -> None:
    pool, (ada, bob) = learners_of(config(outer=kind, training=FAST), pools)
    pools.train(pool, ada)
    theirs = pools.train(pool, bob)
    plain_pool, (plain, other) = learners_of(config(training=FAST), pools)
    pools.train(plain_pool, plain)
    pools.train(plain_pool, other)
    (judged,) = pool.answer([(ada, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,)))])

    merged = pools.merge(pool, ada, (0.5, 0.5), theirs)

    assert isinstance(judged, Evaluated)
    assert merged.trust_loss == pytest.approx(judged.losses[0], rel=1e-6)
    assert merged.trust_loss != pools.merge(plain_pool, plain, (0.5, 0.5), theirs).trust_loss


def test_the_export_is_one_peft_adapter_that_computes_the_same(
    config: Config, pools: Any, tmp_path: Path
) -> None:
    pool, (ada, bob) = learners_of(config(mixing="beside", training=FAST), pools)
    pools.train(pool, ada)
    pools.merge(pool, ada, (0.2, 0.8), pools.train(pool, bob))
    snapshot, tokens = ada.snapshot(), torch.arange(24)[None]
    export_adapter(snapshot.data, tmp_path / "out")
    model = load_base(ada.config.model)
    bare = model_logits(model, tokens)
    with snapshot_on(model, decode_snapshot(snapshot.data)):
        mounted = model_logits(model, tokens)

    with folder_on(model, tmp_path / "out"):
        exported = model_logits(model, tokens)

    assert not torch.allclose(bare, mounted, atol=1e-3)
    torch.testing.assert_close(exported, mounted, atol=1e-4, rtol=1e-4)


def model_logits(base: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return base.model(input_ids=tokens, use_cache=False).logits
