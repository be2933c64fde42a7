"""An adapter whose last ranks lost weight goes on without them, and computes the same but for these."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType] - typed in part

from gossipllm.config import AdapterConfig, LearnerConfig, TrainingConfig
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool, answer
from gossipllm.learning.learner_state import LearnerState
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.merging.pruning import kept_rank, without_tail
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.names import A, B, State
from gossipllm.model.adapter.snapshots import decode_snapshot, encode_snapshot
from gossipllm.text.windows import load_splits
from gossipllm.work import (
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Merged,
    Open,
    Opened,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from support.progress import silent
from wire.digest import Content

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Config = Callable[..., LearnerConfig]
RANK, LESS = 4, 3


def tail_times(state: State, factor: float, kept: int = LESS) -> State:
    """With B larger or smaller from rank `kept` on."""
    scaled = {name: value.copy() for name, value in state.items()}
    for name, value in scaled.items():
        if name.endswith(B):
            value[:, kept:] *= factor
    return scaled


def products(state: State, rank: int, alpha: float = 8.0) -> dict[str, np.ndarray]:
    return {
        name.removesuffix(A): alpha / rank * state[name.removesuffix(A) + B] @ value
        for name, value in state.items()
        if name.endswith(A)
    }


def ranks(state: State) -> set[int]:
    return {value.shape[0 if name.endswith(A) else 1] for name, value in state.items()}


# -- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rank", "prune", "factor", "kept"),
    [
        (4, 0.99, 0.9, 3),
        (4, 0.5, 0.9, 2),
        (4, 0.99, 1.1, 4),
        (4, 0.99, 1.0, 4),
        (4, 1.0, 0.9, 4),
        (4, 0.1, 0.9, 1),
        (1, 0.5, 0.0, 1),
    ],
)
def test_ranks_go_where_the_last_ones_lost_weight_and_one_always_stays(
    shape: Shape, draw: Draw, rank: int, prune: float, factor: float, kept: int
) -> None:
    form = shape(rank=rank, prune=prune)
    before = draw(form, 0)

    assert kept_rank(before, tail_times(before, factor, max(kept - 1, 1)), form) == kept


def test_modules_are_looked_at_together(shape: Shape, draw: Draw) -> None:
    """One module's tail grows by less than another's shrinks."""
    form = shape(prune=0.99)
    before = draw(form, 0)
    shrunk, grown = (name for name in list(before)[:4] if name.endswith(B))
    after: State = {
        **before,
        shrunk: tail_times(before, 0.0)[shrunk],
        grown: tail_times(before, 1.01)[grown],
    }

    assert kept_rank(before, after, form) == LESS
    assert kept_rank(after, before, form) == RANK


def test_a_fresh_adapter_is_not_pruned(shape: Shape, draw: Draw) -> None:
    form = shape(prune=0.99)

    assert kept_rank(form.start(0), draw(form, 0), form) == RANK


def test_what_is_kept_of_the_product_stays_and_so_does_its_slope(shape: Shape, draw: Draw) -> None:
    form = shape(prune=0.99)
    state, start, first, second = (draw(form, seed) for seed in range(4))
    whole = LearnerState(form, 3, state, start, form.own, Moments(7, first, second, since=2))

    less = whole.narrowed(LESS)

    assert less.blueprint.rank == LESS
    assert [spec.shape for spec in less.blueprint.layout.tensors] == [v.shape for v in less.state.values()]
    for was, now in ((state, less.state), (start, less.start)):
        want = products(without_tail(was, LESS), RANK)
        for name, value in products(now, LESS).items():
            np.testing.assert_allclose(value, want[name], rtol=1e-5, atol=1e-7)
    # The same change of the product goes with B's change over its share of 3/4, and a slope with the inverse.
    for name, value in less.moments.first.items():
        b = name.endswith(B)
        np.testing.assert_allclose(
            value, first[name][:, :LESS] / 0.75 if b else first[name][:LESS], rtol=1e-6
        )
    for name, value in less.moments.second.items():
        b = name.endswith(B)
        np.testing.assert_allclose(
            value, second[name][:, :LESS] / 0.75**2 if b else second[name][:LESS], rtol=1e-6
        )
    assert (less.moments.steps, less.moments.since, less.round) == (7, 2, 3)


def test_what_steps_did_not_touch_stays_one_object(shape: Shape, draw: Draw) -> None:
    form = shape(prune=0.99)
    state = draw(form, 0)
    moved = next(iter(state))
    start = {**state, moved: state[moved] * 2}

    less = LearnerState(form, 1, state, start, form.own, Moments()).narrowed(LESS)

    assert {name for name, value in less.start.items() if value is not less.state[name]} == {moved}


@pytest.mark.parametrize("prune", [0.0, -0.5, 1.01, float("nan")])
def test_what_is_kept_is_a_share(prune: float) -> None:
    with pytest.raises(ValueError, match=r"prune must be in \(0, 1\]"):
        AdapterConfig(prune=prune)


# -- a learner ------------------------------------------------------------------------------------------


def pruning(config: Config, prune: float = 0.99, **sections: Any) -> LearnerConfig:
    """One whose weight decay is so strong that a large tail shrinks."""
    return config(
        adapter=AdapterConfig(rank=RANK, alpha=8.0, prune=prune),
        training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=2, weight_decay=1.0),
        merge="pad",
        **sections,
    )


def opened(config: LearnerConfig, snapshot: Content | None = None) -> tuple[Learner, Opened]:
    learner, reply = answer(None, Open(request=1, config=config, snapshot=snapshot), lambda _: None)
    assert isinstance(reply, Opened), reply
    assert learner is not None
    return learner, reply


def ask(learner: Learner, request: Any) -> Any:
    return answer(learner, request, lambda _: None)[1]


def trained(learner: Learner, number: int) -> Trained:
    done = ask(learner, Train(request=2, round=number, steps=3))
    assert isinstance(done, Trained), done
    return done


def heavy(config: LearnerConfig) -> Content:
    """What a learner has saved after a round, but with a last rank that is far too large."""
    learner, _ = opened(config)
    saved = decode_snapshot(trained(learner, 1).snapshot.data)
    adapter = dict(saved.adapter)
    for name, value in adapter.items():
        if name.endswith(B):
            adapter[name] = value.copy()
            adapter[name][:, LESS:] = 2.0
    return Content.of(encode_snapshot(replace(saved, adapter=adapter)))


@pytest.fixture(scope="module")
def tailed(config: Config) -> Content:
    return heavy(pruning(config))


def test_a_learner_offers_and_keeps_the_smaller_rank_from_the_round_on(
    config: Config, tailed: Content
) -> None:
    whole, _ = opened(pruning(config, 1.0), tailed)
    learner, reply = opened(pruning(config), tailed)
    want = trained(whole, 2)

    done = trained(learner, 2)

    assert (reply.offer.rank, want.offer.rank, done.offer.rank) == (RANK, RANK, LESS)
    assert done.update.size < want.update.size
    assert ranks(learner.state) == {LESS}
    assert learner.fleet.blueprint.rank == LESS
    expected = products(without_tail(whole.state, LESS), RANK)
    for name, value in products(learner.state, LESS).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-7)
    # What it announced is of the adapter that it goes on with.
    kept = ask(learner, Merge(request=3, row=(1.0,), updates=()))
    again = ask(learner, Evaluate(request=4, rows=((1.0,),), updates=()))
    assert kept.trust_loss == done.trust_loss
    assert again.losses[0] == pytest.approx(done.trust_loss, rel=1e-6)
    reopened, _ = opened(pruning(config), kept.snapshot)
    (measured,) = ask(reopened, Evaluate(request=5, rows=((1.0,),), updates=())).losses
    assert measured == pytest.approx(done.trust_loss, rel=1e-6)


def test_a_learner_whose_last_ranks_grow_keeps_them(config: Config) -> None:
    learner, _ = opened(pruning(config))

    assert [trained(learner, number).offer.rank for number in (1, 2)] == [RANK, RANK]


def test_a_learner_that_was_closed_after_pruning_goes_on_bit_for_bit(config: Config, tailed: Content) -> None:
    straight, _ = opened(pruning(config), tailed)
    middle = trained(straight, 2)
    want = trained(straight, 3)

    again, reply = opened(pruning(config), middle.snapshot)
    got = trained(again, 3)

    assert (reply.offer.rank, reply.round) == (LESS, 2)
    assert (got.update, got.snapshot, got.offer) == (want.update, want.snapshot, want.offer)


def test_only_who_prunes_takes_a_smaller_rank_for_its_own(config: Config, tailed: Content) -> None:
    learner, _ = opened(pruning(config), tailed)
    less = trained(learner, 2).snapshot
    narrow = replace(pruning(config), adapter=AdapterConfig(rank=2, alpha=8.0, prune=0.99))

    for other in (pruning(config, 1.0), narrow):
        _, reply = answer(None, Open(request=1, config=other, snapshot=less), lambda _: None)
        assert isinstance(reply, Failed)
        assert "adapter of rank 3" in reply.why


@pytest.mark.parametrize("evidence", ["predictions", "weights", "validation", "progress"])
def test_peers_of_unequal_ranks_go_on_weighing_and_merging_each_other(
    config: Config, tailed: Content, evidence: Any
) -> None:
    made = pruning(config, evidence=(evidence,))
    pool = LearnerPool(made, silent)
    learners: list[Learner] = []
    for seed, snapshot in enumerate((tailed, None)):
        splits = load_splits(
            made.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=seed
        )
        learners.append(pool.new_learner(replace(made, training=replace(made.training, seed=seed)), splits))
        (reply,) = pool.answer([(learners[-1], Open(request=1, config=made, snapshot=snapshot))])
        assert isinstance(reply, Opened), reply
    done: list[Any] = pool.answer([(one, Train(request=2, round=2, steps=3)) for one in learners])
    assert [one.offer.rank for one in done] == [LESS, RANK]

    for learner, other, rank in zip(learners, reversed(done), (LESS, RANK), strict=True):
        weigh = Weigh(request=3, author="x", update=other.update, evidence=other.evidence)
        (weighed,) = pool.answer([(learner, weigh)])
        (tried,) = pool.answer([(learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(other.update,)))])
        (merged,) = pool.answer([(learner, Merge(request=5, row=(0.5, 0.5), updates=(other.update,)))])
        assert isinstance(weighed, Weighed), weighed
        assert isinstance(tried, Evaluated)
        assert isinstance(merged, Merged)
        assert np.isfinite([*weighed.distances, *weighed.own, *tried.losses, merged.trust_loss]).all()
        assert ranks(learner.state) == {rank}


def test_a_round_that_fails_after_its_steps_leaves_the_rank_as_it_was(
    config: Config, tailed: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, _ = opened(pruning(config), tailed)
    before = learner.snapshot()

    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Measuring, "trust_losses", full)
        assert isinstance(ask(learner, Train(request=2, round=2, steps=3)), Failed)

    assert learner.snapshot() == before
    assert learner.fleet.blueprint.rank == RANK
    assert trained(learner, 2).offer.rank == LESS


def test_what_is_exported_is_of_the_rank_that_is_left(
    config: Config, tailed: Content, tmp_path: Path
) -> None:
    learner, _ = opened(pruning(config), tailed)

    export_adapter(trained(learner, 2).snapshot.data, tmp_path / "out")

    told = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (told["r"], told["lora_alpha"]) == (LESS, 8.0)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    exported = {
        name.removeprefix("base_model.model.").removesuffix(".weight"): v for name, v in tensors.items()
    }
    assert exported.keys() == learner.state.keys()
    for name, value in learner.state.items():
        assert np.array_equal(exported[name], value)
