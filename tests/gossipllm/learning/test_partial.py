"""Learners that train, send and merge a part of their adapter; and unlike ones in one crew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import (
    AdapterConfig,
    HeadsConfig,
    LayersConfig,
    LearnerConfig,
    ModelConfig,
    TrainingConfig,
)
from gossipllm.learning import contexts
from gossipllm.learning.crew import Crew
from gossipllm.learning.learner import Learner
from gossipllm.mistakes import UserMistake
from gossipllm.model.contexts.config import Window
from gossipllm.model.snapshots import decode_snapshot
from gossipllm.text.data import Splits, load_splits
from gossipllm.work import Evaluate, Evaluated, Merge, Merged, Open, Opened, Train, Trained, Weigh, Weighed
from wire.digest import Content
from wire.units import Schema, decode_offered

Config = Callable[..., LearnerConfig]
HEADS, DEALT, WINDOWS = AdapterConfig(train="heads"), HeadsConfig(copies=1), LayersConfig(count=1)


def hired(crew: Crew, config: LearnerConfig, seed: int = 0) -> Learner:
    splits = load_splits(config.data, crew.base.tokenizer, context=crew.base.context, seed=seed)
    return crew.hire(replace(config, training=replace(config.training, seed=seed)), splits)


def opened(crew: Crew, learner: Learner, snapshot: Content | None = None) -> Opened:
    (reply,) = crew.answer([(learner, Open(request=1, config=learner.config, snapshot=snapshot))])
    assert isinstance(reply, Opened), reply
    return reply


def crew_of(config: LearnerConfig) -> tuple[Crew, Learner, Opened]:
    crew = Crew(config, lambda *_: None)
    learner = hired(crew, config)
    return crew, learner, opened(crew, learner)


def layer_units(reply: Opened, layer: int) -> bytes:
    """The bitmap of the units of a block and of no block, as the network process draws it."""
    schema = Schema(reply.units, reply.codec)
    own = schema.indices(reply.offer)
    return schema.offer([i for i in own if schema.units[i].layer in (-1, layer)], reply.offer.rank).units


def train(crew: Crew, learner: Learner, number: int = 1, **asked: Any) -> Trained:
    (done,) = crew.answer([(learner, Train(request=2, round=number, steps=3, **asked))])
    assert isinstance(done, Trained), done
    return done


def merge(crew: Crew, learner: Learner, row: tuple[float, ...], *others: Trained) -> Merged:
    request = Merge(request=3, row=row, updates=tuple(one.update for one in others))
    (reply,) = crew.answer([(learner, request)])
    assert isinstance(reply, Merged), reply
    return reply


@pytest.mark.parametrize("kind", ["both", "b", "heads", "full", "bias"])
def test_a_window_is_trained_offered_and_measured_alone(config: Config, kind: Any) -> None:
    made = config("gpt2", adapter=AdapterConfig(rank=4, alpha=8.0, train=kind), layers=LayersConfig(count=1))
    crew, learner, reply = crew_of(made)
    before = dict(learner.state)

    done = train(crew, learner, units=layer_units(reply, 1))

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


def test_a_probe_tells_of_all_layers(config: Config) -> None:
    crew, learner, reply = crew_of(config(layers=LayersConfig(count=1)))

    done = train(crew, learner, units=layer_units(reply, 0), probe=True)

    assert all(value is not None and value > 0 for value in done.importance)
    assert crew.meter.backward["probe"] > 0


def test_who_trains_all_layers_tells_of_none(config: Config) -> None:
    crew, learner, reply = crew_of(config())

    assert train(crew, learner).importance == ()
    assert (reply.window, reply.context_keys, reply.mass) == (0, (), 0)


def test_peers_of_two_windows_give_each_other_what_they_trained(config: Config) -> None:
    made = config(layers=LayersConfig(count=1, missing="renorm"))
    crew, learner, reply = crew_of(made)
    other = hired(crew, made, 1)
    opened(crew, other)
    train(crew, learner, units=layer_units(reply, 0))
    mine = dict(learner.state)
    theirs = train(crew, other, units=layer_units(reply, 1))

    (tried,) = crew.answer([(learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,)))])
    merged = merge(crew, learner, (0.5, 0.5), theirs)

    assert isinstance(tried, Evaluated)
    assert tried.losses == (merged.trust_loss,), "what was tried is what is merged"
    for name, value in learner.state.items():
        if ".layers.0." in name:
            assert np.array_equal(value, mine[name]), "nobody else held it"
        else:
            np.testing.assert_allclose(value, other.state[name], atol=2e-3, err_msg=name)


@pytest.mark.parametrize("evidence", ["predictions", "weights", "validation"])
def test_another_window_is_weighed_and_evaluated(config: Config, evidence: Any) -> None:
    made = config(layers=LayersConfig(count=1), evidence=(evidence,))
    crew, learner, reply = crew_of(made)
    other = hired(crew, made, 1)
    opened(crew, other)
    train(crew, learner, units=layer_units(reply, 0))
    theirs = train(crew, other, units=layer_units(reply, 1))

    weighed, tried = crew.answer(
        [
            (learner, Weigh(request=3, author="x", update=theirs.update, evidence=theirs.evidence)),
            (learner, Evaluate(request=4, rows=((0.5, 0.5),), updates=(theirs.update,))),
        ]
    )

    assert isinstance(weighed, Weighed)
    assert isinstance(tried, Evaluated)
    assert np.isfinite([*weighed.distances, *tried.losses]).all()


def test_a_neighbour_is_weighed_by_the_tokens_by_which_its_merge_is_evaluated(config: Config) -> None:
    """Trust windows that hold unlike numbers of tokens, as samples do."""
    made = config(evidence=("validation",))
    crew = Crew(made, lambda *_: None)
    splits = load_splits(made.data, crew.base.tokenizer, context=crew.base.context, seed=0)
    trust_WT = splits.trust_WT.copy()
    for window, window_T in enumerate(trust_WT[:8]):
        window_T[3 * window + 2 :] = ~window_T[3 * window + 2 :]
    # The test windows are the same ones, so that losses on both can be compared.
    learner = crew.hire(made, Splits(splits.train_WT, trust_WT, trust_WT))
    other = hired(crew, made, 1)
    opened(crew, learner)
    opened(crew, other)
    mine, theirs = train(crew, learner), train(crew, other)

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
    assert merge(crew, learner, (1.0,)).test_alone == pytest.approx(mine.trust_loss, abs=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        LayersConfig(count=1),
        LayersConfig(count=1, context="int8"),
        LayersConfig(count=1, context="distil", distil_steps=2, checkpoint=True),
    ],
)
def test_a_learner_that_was_closed_between_windows_goes_on_bit_for_bit(config: Config, layers: Any) -> None:
    made = config(layers=layers)
    crew, straight, reply = crew_of(made)
    first, second = layer_units(reply, 0), layer_units(reply, 1)
    train(crew, straight, 1, units=first)
    middle = train(crew, straight, 2, units=second)
    want = train(crew, straight, 3, units=second)

    again_crew, again, _ = crew_of(made)
    opened(again_crew, again, middle.snapshot)
    got = train(again_crew, again, 3, units=second)

    header = decode_snapshot(middle.snapshot.data).header
    assert (header.steps, header.since) == (6, 3)
    assert (got.update, got.snapshot, got.offer) == (want.update, want.snapshot, want.offer)


def test_a_snapshot_remembers_what_was_trained_for_the_merge(config: Config) -> None:
    made = config(layers=LayersConfig(count=1))
    crew, learner, reply = crew_of(made)
    done = train(crew, learner, units=layer_units(reply, 0))
    other = hired(crew, made, 1)
    opened(crew, other)
    theirs = train(crew, other, units=layer_units(reply, 1))
    again = hired(crew, made)
    opened(crew, again, done.snapshot)

    merged = [merge(crew, one, (0.5, 0.5), theirs).snapshot for one in (learner, again)]

    assert list(again.state) == list(learner.state), "safetensors knows no order, but sums depend on it"
    assert merged[0] == merged[1]


@pytest.mark.parametrize("context", ["none", "int8", "int4", "drop", "distil"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_window_learns_within_every_context(config: Config, context: Any, checkpoint: bool) -> None:
    layers = LayersConfig(count=1, context=context, distil_steps=2, ratio=1.0, checkpoint=checkpoint)
    crew, learner, reply = crew_of(config(layers=layers))
    before = reply.test_loss

    for number in range(1, 7):
        done = train(crew, learner, number, units=layer_units(reply, number % 2))
        after = merge(crew, learner, (1.0,))

    assert done.note == ""
    assert after.test_alone < before, "measured on the whole base"


def test_checkpoints_are_kept_where_they_are_asked_for_and_nowhere_else(config: Config) -> None:
    crew = Crew(config(), lambda *_: None)
    held = contexts.Contexts(crew.base, b"", crew.reference)

    def within(**settings: Any) -> Any:
        layers = LayersConfig(count=1, **settings)
        return held.within(Window(1), layers, given=None, on_distil=lambda: None).surroundings

    assert within() is None, "the base as it is"
    assert within(checkpoint=True).checkpointed == Window(1)
    assert within(context="drop", checkpoint=True).checkpointed == Window(1)
    assert within(context="drop").checkpointed is None


def test_within_distilled_blocks_the_adapter_takes_no_part(config: Config) -> None:
    """Whatever it has become there: distilled blocks do the work of others."""
    training = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)
    made = config(layers=LayersConfig(count=1, context="distil", distil_steps=1), training=training)
    crew, fresh, reply = crew_of(made)
    moved = hired(crew, made)
    opened(crew, moved)
    train(crew, moved, 1, units=layer_units(reply, 1))

    for learner in (fresh, moved):
        train(crew, learner, 2, units=layer_units(reply, 0))

    for name, value in fresh.state.items():
        assert np.array_equal(value, moved.state[name]) == (".layers.0." in name), name


def test_a_context_that_one_made_another_trains_within(config: Config) -> None:
    layers = LayersConfig(count=1, context="distil", distil_steps=20, ratio=1.0)
    crew, maker, reply = crew_of(config(layers=layers))
    fetching, fetcher, told = crew_of(config(layers=replace(layers, contexts="fetch")))
    units = layer_units(reply, 0)

    made = train(crew, maker, units=units)
    without = train(fetching, fetcher, units=units)
    (context,) = made.contexts
    again, clone, _ = crew_of(config(layers=replace(layers, contexts="fetch")))
    within = train(again, clone, units=units, context=context.content)

    assert reply.context_keys == told.context_keys
    assert len(set(reply.context_keys)) == 2
    assert context.key == reply.context_keys[0]
    assert "no context was fetched" in without.note
    assert without.update != made.update
    assert (within.note, within.context_refused, without.context_refused) == ("", False, False)
    assert within.update == made.update
    assert context.content.size <= told.context_bytes < 1.5 * context.content.size + 20_000
    assert train(crew, maker, 2, units=units).contexts == (), "said once"


def test_a_context_that_is_none_is_not_used_and_stops_nobody(config: Config) -> None:
    layers = LayersConfig(count=1, context="distil", contexts="fetch", distil_steps=1)
    crew, learner, reply = crew_of(config(layers=layers))

    done = train(crew, learner, units=layer_units(reply, 0), context=Content.of(b"nothing of the kind"))

    assert "not safetensors" in done.note
    assert done.context_refused


@pytest.mark.parametrize(("near", "says"), [(0.0, "nats from the base"), (9.0, "training diverged")])
def test_a_context_of_wild_numbers_stops_nobody(
    config: Config, monkeypatch: pytest.MonkeyPatch, near: float, says: str
) -> None:
    """It is told by what it predicts, or, where it predicts well, by gradients that are no numbers."""
    monkeypatch.setattr(contexts, "NEAR_NATS", near)
    layers = LayersConfig(count=1, context="distil", distil_steps=1, ratio=1.0)
    crew, maker, reply = crew_of(config(layers=layers))
    made = train(crew, maker, units=layer_units(reply, 0)).contexts[0].content.data
    head = 8 + int.from_bytes(made[:8], "little")
    wild = made[:head] + b"\x80\x42" * ((len(made) - head) // 2)
    fetching, fetcher, _ = crew_of(config(layers=replace(layers, contexts="fetch")))

    done = train(fetching, fetcher, units=layer_units(reply, 0), context=Content.of(wild))

    assert says in done.note
    assert done.context_refused
    assert np.isfinite(done.train_loss)


def test_ranks_and_modules_differ_in_one_crew(config: Config) -> None:
    made = config()
    crew = Crew(made, lambda *_: None)
    adapters = [
        AdapterConfig(rank=4, alpha=8.0),
        AdapterConfig(rank=2, alpha=8.0),
        AdapterConfig(rank=4, alpha=8.0, modules=("q_proj", "v_proj")),
    ]
    learners = [hired(crew, replace(made, adapter=adapter), seed) for seed, adapter in enumerate(adapters)]
    replies = [opened(crew, one) for one in learners]

    done: list[Any] = crew.answer([(one, Train(request=2, round=1, steps=3)) for one in learners])
    for index, learner in enumerate(learners):
        others = [one for other, one in enumerate(done) if other != index]
        merge(crew, learner, (0.4, 0.3, 0.3), *others)

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
    config: Config, family: str, mode: Any
) -> None:
    adapter = AdapterConfig(rank=4, alpha=8.0, train="heads")
    crew, learner, reply = crew_of(config(family, adapter=adapter, heads=HeadsConfig(copies=1, mode=mode)))
    units = range(0, len(reply.units), 2)
    mine = Schema(reply.units, reply.codec).offer(units, 4).units
    before = dict(learner.state)

    for number in range(1, 4):
        done = train(crew, learner, number, units=mine)

    assert done.offer.units == mine
    assert done.importance == ()
    masks = learner.fleet.blueprint.masks_of(list(units))
    assert masks is not None
    for name, value in learner.state.items():
        others = masks.get(name, np.zeros_like(value)) == 0
        assert np.array_equal(value[others], before[name][others]), name
    assert done.trust_loss < reply.test_loss


def test_what_only_own_heads_compute_is_another_step(config: Config) -> None:
    """Both learn; the first within all heads, the second within its own, which speak for all."""
    adapter, updates = AdapterConfig(rank=4, alpha=8.0, train="heads"), list[Content]()
    for mode in ("mask", "subnet"):
        crew, learner, reply = crew_of(config(adapter=adapter, heads=HeadsConfig(copies=1, mode=mode)))
        schema = Schema(reply.units, reply.codec)
        updates.append(train(crew, learner, units=schema.offer([0], 4).units).update)

    assert updates[0] != updates[1]


def test_a_base_that_has_no_such_window_is_said_in_one_line(config: Config) -> None:
    crew = Crew(config(), lambda *_: None)
    wide = config(layers=LayersConfig(count=9))

    with pytest.raises(UserMistake, match=r"layers\.count is 9"):
        hired(crew, wide)


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"heads": HeadsConfig(copies=2)}, 'adapter.train = "heads".*: set that, or heads.copies = 0'),
        ({"heads": HeadsConfig(copies=1, mode="subnet")}, 'adapter.train = "heads"'),
        ({"adapter": HEADS, "heads": DEALT, "layers": WINDOWS}, r"layers\.count excludes heads\.copies: set"),
        (
            {"evidence": ("parameters",), "layers": WINDOWS},
            r'"paper-text".*: layers\.count must be 0; or set trust\.form = "ours"',
        ),
        (
            {"evidence": ("row-cosines",), "layers": LayersConfig(memory_mb=100)},
            r'"paper-code".*: layers\.memory_mb must be 0; or set trust\.form',
        ),
        (
            {"evidence": ("parameters",), "adapter": HEADS, "heads": DEALT},
            r"heads\.copies must be 0; or set trust\.form",
        ),
        (
            {"evidence": ("parameters",), "adapter": AdapterConfig(train="full")},
            r'adapter\.train must be .*, not "full"; or set trust\.form',
        ),
        ({"mixing": "push-sum", "layers": WINDOWS}, r'merge\.mixing = "push-sum".* layers\.count = 0'),
        (
            {"mixing": "push-sum", "adapter": AdapterConfig(modules=("q_proj",))},
            r'merge\.mixing = "push-sum".* adapter\.modules empty',
        ),
        (
            {"mixing": "push-sum", "adapter": AdapterConfig(start="own")},
            r'merge\.mixing = "push-sum".* adapter\.start = "shared"',
        ),
        ({"tokens_alpha": 1.5}, "tokens_alpha"),
        ({"adapter": AdapterConfig(prune=0.99)}, 'merge.rule = "pad"'),
        ({"adapter": AdapterConfig(prune=0.99, train="b"), "merge": "pad"}, 'adapter.train = "both"'),
        (
            {"adapter": AdapterConfig(prune=0.99), "merge": "pad", "mixing": "updates"},
            'merge.mixing = "parameters"',
        ),
        (
            {"adapter": AdapterConfig(prune=0.99), "merge": "pad", "evidence": ("parameters",)},
            "adapters of one rank",
        ),
    ],
)
def test_sections_that_contradict_each_other_are_named(sections: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LearnerConfig(model=ModelConfig(), **sections)


@pytest.mark.parametrize(
    ("section", "settings", "says"),
    [
        (LayersConfig, {"context": "drop"}, "needs count or memory_mb"),
        (LayersConfig, {"count": 1, "memory_mb": 100}, "exclude each other"),
        (LayersConfig, {"checkpoint": True}, "checkpoint is of training in windows"),
        (LayersConfig, {"probe_every": 5}, "probe_every is of training in windows"),
        (HeadsConfig, {"mode": "subnet"}, "needs copies above 0"),
    ],
)
def test_a_setting_that_would_do_nothing_is_named(section: Any, settings: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        section(**settings)
