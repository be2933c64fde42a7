"""Learners that train, send and merge a part of their adapter; and unlike ones in one crew."""

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
from trust.errors import UserMistake
from wire.digest import Content
from wire.units import Schema, decode_offered

Config = Callable[..., LearnerConfig]


@pytest.mark.parametrize("kind", ["both", "b", "heads", "full", "bias"])
def test_a_window_is_trained_offered_and_measured_alone(config: Config, kind: Any, crews: Any) -> None:
    made = config("gpt2", adapter=AdapterConfig(rank=4, alpha=8.0, train=kind), layers=LayersConfig(count=1))
    crew, learner, reply = crews.crew_of(made)
    before = dict(learner.state)

    done = crews.train(crew, learner, units=crews.layer_units(reply, 1))

    assert (reply.layers, reply.window) == (2, 1)
    offer, sent = decode_offered(done.update.data, Schema(reply.units, reply.codec))
    assert offer == done.offer
    assert sent
    assert not any(".h.0." in name for name in sent)
    changed = {name for name, value in learner.state.items() if not np.array_equal(value, before[name])}
    assert changed
    assert all(".h.1." in name or ".ln_f." in name for name in changed)
    assert done.importance[0] is None
    assert done.importance[1] is not None
    assert done.importance[1] > 0


def test_a_probe_tells_of_all_layers(config: Config, crews: Any) -> None:
    crew, learner, reply = crews.crew_of(config(layers=LayersConfig(count=1)))

    done = crews.train(crew, learner, units=crews.layer_units(reply, 0), probe=True)

    assert all(value is not None and value > 0 for value in done.importance)
    assert crew.meter.backward["probe"] > 0


def test_who_trains_all_layers_tells_of_none(config: Config, crews: Any) -> None:
    crew, learner, reply = crews.crew_of(config())

    assert crews.train(crew, learner).importance == ()
    assert (reply.window, reply.context_keys, reply.mass) == (0, (), 0)


def test_peers_of_two_windows_give_each_other_what_they_trained(config: Config, crews: Any) -> None:
    made = config(layers=LayersConfig(count=1, missing="renorm"))
    crew, learner, reply = crews.crew_of(made)
    other = crews.hired(crew, made, 1)
    crews.opened(crew, other)
    crews.train(crew, learner, units=crews.layer_units(reply, 0))
    mine = dict(learner.state)
    theirs = crews.train(crew, other, units=crews.layer_units(reply, 1))

    (tried,) = crew.answer([(learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,)))])
    merged = crews.merge(crew, learner, (0.5, 0.5), theirs)

    assert isinstance(tried, Evaluated)
    assert tried.losses == (merged.trust_loss,), "what was tried is what is merged"
    for name, value in learner.state.items():
        if ".layers.0." in name:
            assert np.array_equal(value, mine[name]), "nobody else held it"
        else:
            np.testing.assert_allclose(value, other.state[name], atol=2e-3, err_msg=name)


@pytest.mark.parametrize("evidence", ["predictions", "weights", "validation"])
def test_another_window_is_weighed_and_evaluated(config: Config, evidence: Any, crews: Any) -> None:
    made = config(layers=LayersConfig(count=1), evidence=(evidence,))
    crew, learner, reply = crews.crew_of(made)
    other = crews.hired(crew, made, 1)
    crews.opened(crew, other)
    crews.train(crew, learner, units=crews.layer_units(reply, 0))
    theirs = crews.train(crew, other, units=crews.layer_units(reply, 1))

    weighed, tried = crew.answer(
        [
            (learner, Weigh(request=3, author="x", update=theirs.update, evidence=theirs.evidence)),
            (learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,))),
        ]
    )

    assert isinstance(weighed, Weighed)
    assert isinstance(tried, Evaluated)
    assert np.isfinite([*weighed.distances, *tried.losses]).all()


def test_a_neighbour_is_weighed_by_the_tokens_by_which_its_merge_is_evaluated(
    config: Config, crews: Any
) -> None:
    """Trust windows that hold unlike numbers of tokens, as samples do."""
    made = config(evidence=("validation",))
    crew = LearnerPool(made, lambda *_: None)
    splits = load_splits(made.data, crew.base.tokenizer, context_length=crew.base.context_length, seed=0)
    trust_WT = splits.trust_WT.copy()
    for window, window_T in enumerate(trust_WT[:8]):
        window_T[3 * window + 2 :] = ~window_T[3 * window + 2 :]
    # The test windows are the same ones, so that losses on both can be compared.
    learner = crew.hire(made, Splits(splits.train_WT, trust_WT, trust_WT))
    other = crews.hired(crew, made, 1)
    crews.opened(crew, learner)
    crews.opened(crew, other)
    mine, theirs = crews.train(crew, learner), crews.train(crew, other)

    weighed, tried = crew.answer(
        [
            (learner, Weigh(request=3, author="x", update=theirs.update, evidence=theirs.evidence)),
            (learner, Evaluate(request=4, rows=((0.0, 1.0),), updates=(theirs.update,))),
        ]
    )

    assert isinstance(weighed, Weighed)
    assert isinstance(tried, Evaluated)
    assert weighed.distances[0] == pytest.approx(tried.losses[0] - mine.trust_loss, abs=1e-5)
    assert weighed.errors[0] == pytest.approx(tried.errors[0], rel=1e-3)
    assert crews.merge(crew, learner, (1.0,)).test_alone == pytest.approx(mine.trust_loss, abs=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        LayersConfig(count=1),
        LayersConfig(count=1, context="int8"),
        LayersConfig(count=1, context="distil", distil_steps=2, checkpoint=True),
    ],
)
def test_a_learner_that_was_closed_between_windows_goes_on_bit_for_bit(
    config: Config, layers: Any, crews: Any
) -> None:
    made = config(layers=layers)
    crew, straight, reply = crews.crew_of(made)
    first, second = crews.layer_units(reply, 0), crews.layer_units(reply, 1)
    crews.train(crew, straight, 1, units=first)
    middle = crews.train(crew, straight, 2, units=second)
    want = crews.train(crew, straight, 3, units=second)

    again_crew, again, _ = crews.crew_of(made)
    crews.opened(again_crew, again, middle.snapshot)
    got = crews.train(again_crew, again, 3, units=second)

    header = decode_snapshot(middle.snapshot.data).header
    assert (header.steps, header.since) == (6, 3)
    assert (got.update, got.snapshot, got.offer) == (want.update, want.snapshot, want.offer)


def test_a_snapshot_remembers_what_was_trained_for_the_merge(config: Config, crews: Any) -> None:
    made = config(layers=LayersConfig(count=1))
    crew, learner, reply = crews.crew_of(made)
    done = crews.train(crew, learner, units=crews.layer_units(reply, 0))
    other = crews.hired(crew, made, 1)
    crews.opened(crew, other)
    theirs = crews.train(crew, other, units=crews.layer_units(reply, 1))
    again = crews.hired(crew, made)
    crews.opened(crew, again, done.snapshot)

    merged = [crews.merge(crew, one, (0.5, 0.5), theirs).snapshot for one in (learner, again)]

    assert list(again.state) == list(learner.state), "safetensors knows no order, but sums depend on it"
    assert merged[0] == merged[1]


def test_ranks_and_modules_differ_in_one_crew(config: Config, crews: Any) -> None:
    made = config()
    crew = LearnerPool(made, lambda *_: None)
    adapters = [
        AdapterConfig(rank=4, alpha=8.0),
        AdapterConfig(rank=2, alpha=8.0),
        AdapterConfig(rank=4, alpha=8.0, modules=("q_proj", "v_proj")),
    ]
    learners = [
        crews.hired(crew, replace(made, adapter=adapter), seed) for seed, adapter in enumerate(adapters)
    ]
    replies = [crews.opened(crew, one) for one in learners]

    done: list[Any] = crew.answer([(one, Train(request=2, round=1, steps=3)) for one in learners])
    for index, learner in enumerate(learners):
        others = [one for other, one in enumerate(done) if other != index]
        crews.merge(crew, learner, (0.4, 0.3, 0.3), *others)

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
    config: Config, family: str, mode: Any, crews: Any
) -> None:
    adapter = AdapterConfig(rank=4, alpha=8.0, train="heads")
    crew, learner, reply = crews.crew_of(
        config(family, adapter=adapter, heads=HeadsConfig(copies=1, mode=mode))
    )
    units = range(0, len(reply.units), 2)
    mine = Schema(reply.units, reply.codec).offer(units, 4).units
    before = dict(learner.state)

    for number in range(1, 4):
        done = crews.train(crew, learner, number, units=mine)

    assert done.offer.units == mine
    assert done.importance == ()
    masks = learner.fleet.blueprint.masks_of(list(units))
    assert masks is not None
    for name, value in learner.state.items():
        others = masks.get(name, np.zeros_like(value)) == 0
        assert np.array_equal(value[others], before[name][others]), name
    assert done.trust_loss < reply.test_loss


def test_what_only_own_heads_compute_is_another_step(config: Config, crews: Any) -> None:
    """Both learn; the first within all heads, the second within its own, which speak for all."""
    adapter, updates = AdapterConfig(rank=4, alpha=8.0, train="heads"), list[Content]()
    for mode in ("mask", "subnet"):
        crew, learner, reply = crews.crew_of(config(adapter=adapter, heads=HeadsConfig(copies=1, mode=mode)))
        schema = Schema(reply.units, reply.codec)
        updates.append(crews.train(crew, learner, units=schema.offer([0], 4).units).update)

    assert updates[0] != updates[1]


def test_a_base_that_has_no_such_window_is_said_in_one_line(config: Config, crews: Any) -> None:
    crew = LearnerPool(config(), lambda *_: None)
    wide = config(layers=LayersConfig(count=9))

    with pytest.raises(UserMistake, match=r"layers\.count is 9"):
        crews.hired(crew, wide)
