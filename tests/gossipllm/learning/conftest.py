"""Forms of adapter over one small model that has shapes and no numbers, and adapters of these forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.config import AdapterConfig
from gossipllm.learning.updates import Update, UpdateFormat
from gossipllm.model.adapters import Attached, attach
from gossipllm.model.blueprint import Blueprint
from gossipllm.model.names import State

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]


@pytest.fixture(scope="session")
def shape() -> Shape:
    """The form of adapter that these settings describe, over two blocks with two groups of two heads."""
    bases: dict[str, Attached] = {}

    def make(**settings: Any) -> Blueprint:
        config = AdapterConfig(**({"rank": 4, "alpha": 8.0, "most_rank": 16} | settings))
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
