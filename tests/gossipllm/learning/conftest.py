"""Blueprints over a small model that has shapes and no numbers, adapters of these forms, small learner pools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.config.choices import TRAINS, MergeRule, Missing
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.merging.stack import MergedState, OwnAdapter, Stack
from gossipllm.learning.merging.updates import Update, UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.placement import Attached, attach
from gossipllm.text.windows import load_splits
from gossipllm.work import Merge, Merged, Open, Opened, Train, Trained
from support.adapters import AdapterOptions, adapter_config
from support.learners import opened, train
from support.progress import silent
from wire.digest import Content
from wire.updates.units import Schema

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]


@pytest.fixture(scope="session")
def shape() -> Shape:
    """The form of adapter that these settings describe, over two blocks with two groups of two heads."""
    bases: dict[str, Attached] = {}

    def make(**settings: Unpack[AdapterOptions]) -> Blueprint:
        given: AdapterOptions = {"most_rank": 16, **settings}
        config = adapter_config(**given)
        if config.train not in bases:
            with torch.device("meta"):
                model = LlamaForCausalLM(
                    LlamaConfig(
                        vocab_size=32,
                        hidden_size=16,
                        intermediate_size=24,
                        num_hidden_layers=2,
                        num_attention_heads=4,
                        num_key_value_heads=2,
                        attention_bias=True,
                        mlp_bias=True,
                    )
                )
            bases[config.train] = attach(model, config)
        return bases[config.train].blueprint(config)

    return make


@pytest.fixture(scope="session")
def draw() -> Draw:
    """An adapter that has learnt something, by its seed: what is frozen is as everybody has it."""

    def make(form: Blueprint, seed: int) -> State:
        rng, state = np.random.default_rng(seed), form.start(seed)
        for spec in form.trained.tensors:
            state[spec.name] = (state[spec.name] + rng.normal(0, 0.05, spec.shape)).astype(np.float32)
        return state

    return make


@pytest.fixture(scope="session")
def offered() -> Offered:
    """What another receives of an adapter, but for rounding to the wire's type."""

    def make(
        form: Blueprint, state: State, units: Iterable[int] | None = None, start: State | None = None
    ) -> Update:
        held = form.own if units is None else tuple(units)
        return Update(
            form.schema.offer(held, form.rank),
            held,
            form.pieces(state, held),
            None if start is None else form.pieces(start, held),
        )

    return make


@pytest.fixture(scope="session")
def sent() -> Callable[..., bytes]:
    """The bytes of an adapter's update."""

    def make(
        form: Blueprint, state: State, units: Iterable[int] | None = None, mixing: Any = "parameters"
    ) -> bytes:
        held = form.own if units is None else tuple(units)
        return UpdateFormat(form, mixing).encoded(state, form.start(0), held)

    return make


def merge_states(
    form: Blueprint,
    own: State,
    updates: Sequence[Update],
    row: Sequence[float],
    rule: MergeRule = "svd",
    *,
    missing: Missing = "renorm",
    held: Sequence[int] | None = None,
) -> MergedState:
    mine = OwnAdapter(own, own, form.own if held is None else held)
    return Stack(form, mine, updates).merge(row, rule, missing)


def effect_of(form: Blueprint, state: State, unit: int) -> np.ndarray:
    """What a unit of an adapter adds to the base, as one vector; of a factor whose other one is trained and no part of
    the unit, its difference from the public start."""
    parts: list[np.ndarray] = []
    for cut in form.cuts([unit]):
        module, _, end = cut.tensor.rpartition(".")
        if not TRAINS[form.config.train].sends_products:
            parts.append(state[cut.tensor].astype(np.float64) - form.shared[cut.tensor])
            continue
        if end not in ("lora_A", "lora_B"):
            parts.append(state[cut.tensor].astype(np.float64))
            continue
        a, b = (state[f"{module}.{factor}"] for factor in ("lora_A", "lora_B"))
        a, b = (cut.of(a), b) if end == "lora_A" else (a, cut.of(b))
        parts.append(form.scale * b.astype(np.float64) @ a.astype(np.float64))
    return np.concatenate([part.ravel() for part in parts])


def mixture_of(row: Sequence[float], voices: Sequence[tuple[Blueprint, State]], unit: int) -> np.ndarray:
    return np.sum(
        [w * effect_of(form, state, unit) for w, (form, state) in zip(row, voices, strict=True)], axis=0
    )


@pytest.fixture(scope="session")
def merge() -> Callable[..., MergedState]:
    return merge_states


@pytest.fixture(scope="session")
def effect() -> Callable[..., np.ndarray]:
    return effect_of


@pytest.fixture(scope="session")
def mixture() -> Callable[..., np.ndarray]:
    return mixture_of


@pytest.fixture(scope="module")
def neighbour(config: Callable[..., LearnerConfig]) -> Trained:
    """What another peer, with other batches, published."""
    other = opened(
        config(training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=2, seed=9))
    )
    return train(other, 1)


class Pools:
    """Learner pools of one or more learners, asked one thing at a time."""

    @staticmethod
    def new_learner(pool: LearnerPool, config: LearnerConfig, seed: int = 0) -> Learner:
        splits = load_splits(
            config.data, pool.base.tokenizer, context_length=pool.base.context_length, seed=seed
        )
        return pool.new_learner(replace(config, training=replace(config.training, seed=seed)), splits)

    @staticmethod
    def opened(pool: LearnerPool, learner: Learner, snapshot: Content | None = None) -> Opened:
        (reply,) = pool.answer([(learner, Open(request=1, config=learner.config, snapshot=snapshot))])
        assert isinstance(reply, Opened), reply
        return reply

    @staticmethod
    def pool_of(config: LearnerConfig) -> tuple[LearnerPool, Learner, Opened]:
        pool = LearnerPool(config, silent)
        learner = Pools.new_learner(pool, config)
        return pool, learner, Pools.opened(pool, learner)

    @staticmethod
    def layer_units(reply: Opened, layer: int) -> bytes:
        """The bitmap of the units of a block and of no block, as the network process draws it."""
        schema = Schema(reply.units, reply.codec)
        own = schema.indices(reply.offer)
        return schema.offer([i for i in own if schema.units[i].layer in (-1, layer)], reply.offer.rank).units

    @staticmethod
    def train(pool: LearnerPool, learner: Learner, number: int = 1, **asked: Any) -> Trained:
        (done,) = pool.answer([(learner, Train(request=2, round=number, steps=3, **asked))])
        assert isinstance(done, Trained), done
        return done

    @staticmethod
    def merge(pool: LearnerPool, learner: Learner, row: tuple[float, ...], *others: Trained) -> Merged:
        request = Merge(request=3, row=row, updates=tuple(one.update for one in others))
        (reply,) = pool.answer([(learner, request)])
        assert isinstance(reply, Merged), reply
        return reply


@pytest.fixture
def pools() -> type[Pools]:
    return Pools
