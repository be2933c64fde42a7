"""Neighbours tried one by one, and a state that is gone back to, on tiny models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LayersConfig, LearnerConfig, ReferenceConfig, TrainingConfig
from gossipllm.config.choices import Train as TrainedPart
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.text.windows import rows_of
from gossipllm.work import (
    BIND_TOLERANCE,
    Confirm,
    Confirmation,
    Confirmed,
    Evaluate,
    Evaluated,
    Failed,
    Finalist,
    Merge,
    Merged,
    Open,
    Restore,
    Train,
    Trained,
    Work,
)
from support.progress import silent
from wire.digest import Content
from wire.predictions.logits import SparseRows, encode_rows
from wire.updates.packing import FINENESS, Packing
from wire.updates.units import decode_offered, encode_offered

Config = Callable[..., LearnerConfig]


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def opened(config: LearnerConfig) -> Learner:
    learner, _ = answer(None, Open(request=1, config=config, snapshot=None), silent)
    assert learner is not None
    return learner


def train(learner: Learner, number: int = 1) -> Trained:
    return ask(learner, Train(request=2, round=number, steps=5))


def seeded(config: Config, seed: int, rank: int = 4) -> LearnerConfig:
    return config(
        adapter=AdapterConfig(rank=rank, alpha=8.0, most_rank=16),
        training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=2, seed=seed),
    )


@pytest.fixture(scope="module")
def learner(config: Config) -> Learner:
    """After its first local steps; no test changes it."""
    whole = seeded(config, 0)
    learner = opened(replace(whole, data=replace(whole.data, weigh_windows=8)))
    train(learner)
    return learner


@pytest.fixture(scope="module")
def others(config: Config) -> list[Trained]:
    return [train(opened(seeded(config, seed))) for seed in (1, 2)]


def finalist(trained: Trained) -> Finalist:
    return Finalist(author="ada", update=trained.update, evidence=trained.evidence)


def confirm(learner: Learner, *finalists: Finalist, share: float = 0.25) -> tuple[Confirmation, ...]:
    confirmed: Confirmed = ask(learner, Confirm(request=3, finalists=finalists, share=share))
    assert isinstance(confirmed, Confirmed), confirmed
    return confirmed.results


def changed(update: Content, learner: Learner, change: Callable[[str, np.ndarray], np.ndarray]) -> Content:
    """The update with every tensor changed, of the same offer."""
    schema = learner.shared.blueprint(learner.config.adapter).schema
    offer, tensors = decode_offered(update.data, schema)
    return Content.of(
        encode_offered({name: change(name, value) for name, value in tensors.items()}, schema, offer)
    )


def times(factor: float) -> Callable[[str, np.ndarray], np.ndarray]:
    return lambda name, value: value * np.float32(factor) if name.endswith("lora_B") else value


def test_a_neighbours_gain_is_what_a_merge_with_it_alone_would_bring(
    learner: Learner, others: list[Trained]
) -> None:
    first, second = others
    updates = (first.update, second.update)
    tried: Evaluated = ask(
        learner, Evaluate(request=4, rows=((1, 0, 0), (0.75, 0.25, 0), (0.75, 0, 0.25)), updates=updates)
    )
    confirmed: Confirmed = ask(
        learner, Confirm(request=3, finalists=tuple(map(finalist, others)), share=0.25)
    )

    own, *with_each = tried.losses
    assert confirmed.own_loss == pytest.approx(own, abs=1e-7)
    assert [own - loss for loss in with_each] == pytest.approx(
        [one.gain for one in confirmed.results], abs=1e-6
    )
    assert [one.error for one in confirmed.results] == pytest.approx(tried.errors[1:], rel=1e-3)
    assert [one.twin for one in confirmed.results] == [0, 1]
    assert all(0.2 < one.size < 5 for one in confirmed.results)


def test_the_more_neighbours_the_fewer_windows_each_of_them_is_tried_on(
    learner: Learner, others: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = map(finalist, others)
    whole = confirm(learner, first, second)
    assert whole == confirm(learner, first, second)

    monkeypatch.setattr("gossipllm.learning.measuring.confirming.TRIAL_WINDOWS", 10)
    meter = learner.shared.meter.forward
    before = meter["trust"]
    confirm(learner, first)
    of_one = meter["trust"] - before
    confirm(learner, first, second)
    of_two = meter["trust"] - before - of_one
    assert of_two == pytest.approx(of_one * 2 * 5 / 8)


def test_confirming_changes_nothing(learner: Learner, others: list[Trained]) -> None:
    before = learner.snapshot()

    confirm(learner, *map(finalist, others))

    assert learner.snapshot() == before


def test_of_copies_the_first_stands_for_all_and_no_pass_is_spent_on_the_others(
    learner: Learner, others: list[Trained]
) -> None:
    first, second = map(finalist, others)
    scaled = Finalist(author="eve", update=changed(first.update, learner, times(90)))
    shifted = Finalist(
        author="eve",
        update=changed(
            first.update, learner, lambda name, value: value * np.float32(4 if "_A" in name else 0.25)
        ),
    )
    echoed = Finalist(author="eve", update=second.update, evidence=first.evidence)

    meter = learner.shared.meter.forward
    confirm(learner, first, second)
    before = meter["trust"]
    confirm(learner, first, second)
    of_two = meter["trust"] - before
    results = confirm(learner, first, second, first, scaled, shifted, echoed)

    assert [one.twin for one in results] == [0, 1, 0, 0, 0, 0]
    assert meter["trust"] - before - of_two == of_two
    assert [math.isfinite(one.gain) for one in results] == [True, True, False, False, False, False]
    assert results[3].size == pytest.approx(90 * results[0].size, rel=0.01)


def test_who_sends_my_own_adapter_or_predictions_or_the_untouched_start_is_a_copy_of_me(
    config: Config, others: list[Trained]
) -> None:
    learner = opened(seeded(config, 0))
    own = train(learner)
    mine = Finalist(author="eve", update=own.update)
    bait = Finalist(author="eve", update=others[0].update, evidence=own.evidence)
    nothing = Finalist(author="eve", update=changed(own.update, learner, times(0)))

    results = confirm(learner, mine, bait, nothing, finalist(others[1]))

    assert [one.twin for one in results] == [-1, -1, -1, 3]


@pytest.mark.parametrize("rank", [2, 8])
def test_a_neighbour_of_another_rank_is_tried_as_it_would_be_merged(
    config: Config, learner: Learner, rank: int
) -> None:
    other = train(opened(seeded(config, 5, rank)))
    tried: Evaluated = ask(learner, Evaluate(request=4, rows=((1, 0), (0.75, 0.25)), updates=(other.update,)))

    (result,) = confirm(learner, finalist(other))

    assert result.gain == pytest.approx(tried.losses[0] - tried.losses[1], abs=1e-6)


def test_bytes_that_are_no_update_have_no_gain_and_spoil_nothing(
    learner: Learner, others: list[Trained]
) -> None:
    (alone,) = confirm(learner, finalist(others[0]))
    cut_off = Finalist(author="eve", update=Content.of(others[1].update.data[:-2]))
    no_evidence = Finalist(author="eve", update=others[1].update, evidence=Content.of(b"none"))

    results = confirm(learner, cut_off, finalist(others[0]), no_evidence)

    assert math.isnan(results[0].gain)
    assert results[1].gain == pytest.approx(alone.gain, abs=1e-6)
    assert math.isfinite(results[2].gain)


# -- going back ---------------------------------------------------------------------------------------


def test_going_back_restores_all_but_the_round(config: Config, others: list[Trained]) -> None:
    learner = opened(seeded(config, 0))
    good = train(learner)
    ask(learner, Merge(request=4, row=(0.5, 0.5), updates=(others[0].update,)))
    train(learner, 2)

    merged: Merged = ask(learner, Restore(request=5, snapshot=good.snapshot))

    before, after = decode_snapshot(good.snapshot.data), decode_snapshot(merged.snapshot.data)
    assert after.header.round == 2
    assert msgspec.structs.replace(after.header, round=1) == before.header
    for name in ("adapter", "first", "second"):
        one, other = getattr(before, name), getattr(after, name)
        assert all(np.array_equal(one[key], other[key]) for key in one)
    assert merged.trust_loss == pytest.approx(good.trust_loss, abs=1e-6)
    assert merged.test_alone != merged.test_merged
    assert learner.snapshot() == merged.snapshot


def test_the_round_after_going_back_trains_on_its_own_text(config: Config) -> None:
    """Batches belong to the round: going back repeats no batch."""
    learner, straight = opened(seeded(config, 0)), opened(seeded(config, 0))
    good = train(learner)
    train(straight)
    train(learner, 2)
    ask(learner, Restore(request=5, snapshot=good.snapshot))

    assert train(learner, 3).update == train(straight, 3).update


def test_mass_cannot_be_taken_back(config: Config) -> None:
    learner = opened(config(mixing="push-sum"))
    snapshot = train(learner).snapshot

    with pytest.raises(ValueError, match="push-sum"):
        ask(learner, Restore(request=5, snapshot=snapshot))
    assert learner.snapshot() == snapshot


def test_a_snapshot_of_another_model_changes_nothing(config: Config) -> None:
    learner, other = opened(config()), opened(config("gpt2"))
    before, foreign = train(learner).snapshot, train(other).snapshot

    refused = ask(learner, Restore(request=5, snapshot=foreign))

    assert isinstance(refused, Failed)
    assert learner.snapshot() == before


# -- predictions held against updates -------------------------------------------------------------------

ROWS = (0, 5, 20)


def bound(trained: Trained, **changes: Content) -> Finalist:
    given = Finalist(author="ada", rows=ROWS, update=trained.update, evidence=trained.evidence)
    return msgspec.structs.replace(given, **changes)


@pytest.mark.parametrize("train_kind", ["both", "b", "heads", "full", "bias", "all"])
def test_honest_predictions_come_from_their_update(config: Config, train_kind: TrainedPart) -> None:
    kind = AdapterConfig(rank=4, alpha=8.0, train=train_kind)
    model = config("qwen2").model
    learner, other = (opened(replace(seeded(config, seed), model=model, adapter=kind)) for seed in (0, 1))
    train(learner)

    (result,) = confirm(learner, bound(train(other)))

    assert 0 <= result.mismatch < BIND_TOLERANCE / 4


@pytest.mark.parametrize("rank", [2, 8])
def test_predictions_of_another_rank_are_computed_at_that_rank(
    config: Config, learner: Learner, rank: int
) -> None:
    (result,) = confirm(learner, bound(train(opened(seeded(config, 5, rank)))))

    assert result.mismatch < BIND_TOLERANCE / 4


def test_predictions_of_fewer_modules_are_computed_without_the_others(
    config: Config, learner: Learner
) -> None:
    few = seeded(config, 5)
    few = replace(few, adapter=replace(few.adapter, modules=("q_proj", "down_proj")))

    (result,) = confirm(learner, bound(train(opened(few))))

    assert 0 <= result.mismatch < BIND_TOLERANCE / 4


@pytest.mark.parametrize("packing", [name for name in FINENESS if name != "whole"])
def test_predictions_are_of_what_was_rounded_however_coarsely(
    config: Config, learner: Learner, packing: Packing
) -> None:
    other = opened(replace(seeded(config, 5), packing=packing))
    for number in (1, 2):
        (result,) = confirm(learner, bound(train(other, number)))
        assert result.mismatch < BIND_TOLERANCE / 20


def certain(learner: Learner) -> Content:
    """Predictions of one token without a doubt, which no adapter here gives."""
    shape = learner.shared.reference.shape
    ids_RK = np.tile(np.arange(shape.top, dtype=np.uint32), (shape.rows, 1))
    logp_RK = np.full(ids_RK.shape, -100, np.float32)
    logp_RK[:, 0] = 0
    return Content.of(encode_rows(SparseRows(ids_RK, logp_RK, np.zeros(shape.rows, np.float32)), shape))


def test_forged_predictions_do_not_come_from_the_update(learner: Learner, others: list[Trained]) -> None:
    honest, forged = confirm(learner, bound(others[0]), bound(others[1], evidence=certain(learner)))

    assert honest.mismatch < BIND_TOLERANCE / 4
    assert forged.mismatch > 0.9


def test_whose_predictions_are_forged_stands_for_nobody(learner: Learner, others: list[Trained]) -> None:
    forged = certain(learner)
    first, second = (bound(one, evidence=forged) for one in others)

    taken_on_trust = confirm(learner, *(msgspec.structs.replace(one, rows=()) for one in (first, second)))
    bound_to_updates = confirm(learner, first, second)

    assert [one.twin for one in taken_on_trust] == [0, 0]
    assert [one.twin for one in bound_to_updates] == [0, 1]


def test_an_update_that_gives_no_numbers_has_no_predictions(learner: Learner, others: list[Trained]) -> None:
    endless = bound(others[0], update=changed(others[0].update, learner, lambda _, value: value * 0 + 3e38))

    (result,) = confirm(learner, endless)

    assert result.mismatch == 1


def test_nothing_is_held_against_an_update_of_a_part_of_an_adapter(config: Config, learner: Learner) -> None:
    window = seeded(config, 5)
    other = opened(replace(window, layers=LayersConfig(count=1)))
    schema = other.shared.blueprint(window.adapter).schema
    half = schema.offer([index for index, unit in enumerate(schema.units) if unit.layer == 1], 4).units
    part: Trained = ask(other, Train(request=2, round=1, steps=5, units=half))

    (result,) = confirm(learner, bound(part))

    assert result.mismatch == 0
    assert math.isfinite(result.gain)


def test_a_few_windows_are_computed_and_all_neighbours_go_through_the_base_together(
    learner: Learner, others: list[Trained]
) -> None:
    meter, windows_WT = learner.shared.meter.forward, learner.shared.reference.windows_WT
    before = meter["evidence"]
    third = int(rows_of(windows_WT, np.array([2]))[0])

    confirm(learner, *(msgspec.structs.replace(bound(one), rows=(0, 5, third)) for one in others))

    # Rows 0 and 5 lie in the first of the four windows.
    assert meter["evidence"] - before == len(others) * 2 * windows_WT.shape[1]


def test_raw_logits_are_held_against_updates_too(config: Config) -> None:
    last = ReferenceConfig(
        source=config().reference.source, windows=4, window_tokens=8, top=8, positions="last"
    )
    learner, other = (opened(replace(seeded(config, seed), reference=last)) for seed in (0, 1))
    train(learner)
    honest = train(other)
    forged = changed(honest.update, learner, times(-1000))

    results = confirm(
        learner,
        Finalist(author="ada", update=honest.update, evidence=honest.evidence, rows=(1,)),
        Finalist(author="eve", update=forged, evidence=honest.evidence, rows=(1,)),
    )

    assert results[0].mismatch < BIND_TOLERANCE / 4
    assert results[1].mismatch > BIND_TOLERANCE
