"""Tests of the units of an adapter, and of the parts of its tensors that belong to each unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack, get_args

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from gossipllm.config import AdapterConfig
from gossipllm.config.choices import Train
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.placement import attach
from support.adapters import AdapterOptions
from support.tensors import seed_torch
from trust.errors import UserMistake
from wire.errors import WireError
from wire.updates.units import RANK

SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
KINDS = get_args(Train)
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, num_key_value_heads=2, attention_bias=True, mlp_bias=True)
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=12, n_head=4)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SIZES, num_key_value_heads=2)),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
}


def blueprint(family: str = "llama", **settings: Unpack[AdapterOptions]) -> Blueprint:
    """The blueprint of an adapter on a model on the meta device, which has shapes and no numbers."""
    given: AdapterOptions = {"rank": 4, **settings}
    config = AdapterConfig(**given)
    with torch.device("meta"):
        model = MODELS[family]()
    return attach(model, config).blueprint(config)


@pytest.mark.parametrize("train", KINDS)
def test_the_pieces_of_all_units_are_all_that_is_trained_and_sent(train: Train) -> None:
    form = blueprint(train=train)

    counted = sum(piece.size for piece in form.pieces(form.start(0), form.own).values())
    sent = [spec for spec in form.trained.tensors if spec.name not in form.anatomy.kept]

    assert counted == sum(spec.count for spec in sent)
    assert len(form.trained.tensors) - len(sent) == (len(sent) if train == "share-a" else 0)
    assert form.masks_of(form.own) is None
    assert form.tensors_of(form.own) == tuple(spec.name for spec in sent)
    assert form.layers == 12


@pytest.mark.parametrize("train", KINDS)
def test_pieces_that_are_placed_are_the_state_again(train: Train) -> None:
    form, rng = blueprint(train=train), np.random.default_rng(0)
    state = {spec.name: rng.normal(size=spec.shape).astype(np.float32) for spec in form.layout.tensors}
    other = {name: -values for name, values in state.items()}
    units = form.own[::3]

    placed = form.placed(form.pieces(state, units), units, other)

    masks = form.masks_of(units) or {name: np.float32(1) for name in form.tensors_of(units)}
    for name, values in placed.items():
        mask = masks.get(name, np.float32(0))
        assert np.array_equal(values, mask * state[name] + (1 - mask) * other[name])


@pytest.mark.parametrize("train", KINDS)
def test_a_block_window_has_the_units_of_its_blocks_and_those_outside_all_blocks(train: Train) -> None:
    form = blueprint(train=train)

    window = form.units_in(10, 2)

    layers = {form.schema.units[unit].layer for unit in window}
    assert layers == ({-1, 10, 11} if train in ("full", "all") else {10, 11}), "the final norm has no bias"
    assert {form.layer_of(name) for name in form.tensors_of(window)} == layers
    assert sorted({unit for first in range(12) for unit in form.units_in(first, 1)}) == list(form.own)


def test_shapes_are_those_of_every_rank() -> None:
    form = blueprint()
    names = {name: shape for unit in form.schema.units for name, shape in unit.tensors}

    assert names["model.layers.0.mlp.up_proj.lora_A"] == (RANK, 16)
    assert names["model.layers.0.mlp.up_proj.lora_B"] == (24, RANK)
    assert blueprint(rank=16).fingerprint == form.fingerprint
    assert blueprint(rank=16).schema.fingerprint == form.schema.fingerprint
    assert blueprint("gpt2").fingerprint != form.fingerprint


@pytest.mark.parametrize("train", ["b", "heads"])
def test_the_frozen_tensors_of_a_rank_do_not_depend_on_ranks_asked_for_before(train: Train) -> None:
    form = blueprint(train=train)

    for rank in (16, 2, 4):
        want = blueprint(train=train, rank=rank).frozen
        got = form.frozen_at(rank)
        assert got.keys() == want.keys()
        assert all(np.array_equal(values, want[name]) for name, values in got.items())


def test_grouped_heads_go_with_the_key_that_they_share() -> None:
    form = blueprint(train="heads")
    unit = form.schema.units[1]

    assert len(form.own) == 12 * 2
    assert (unit.name, unit.layer) == ("model.layers.0.self_attn[1]", 0)
    assert {
        cut.tensor.rpartition("self_attn.")[2]: (cut.axis, cut.start, cut.stop) for cut in form.cuts([1])
    } == {
        "q_proj.lora_B": (0, 8, 16),
        "k_proj.lora_B": (0, 4, 8),
        "v_proj.lora_B": (0, 4, 8),
        "o_proj.lora_A": (1, 8, 16),
    }


@pytest.mark.parametrize(
    ("family", "fused", "firsts"), [("gpt2", "c_attn", (8, 24, 40)), ("phi3", "qkv_proj", (0, 16, 24))]
)
def test_heads_are_found_in_a_layer_that_holds_query_key_and_value(
    family: str, fused: str, firsts: tuple[int, ...]
) -> None:
    form = blueprint(family, train="heads")
    unit = 2 if family == "gpt2" else 0
    cuts = [cut for cut in form.cuts([unit]) if fused in cut.tensor]

    assert len({cut.tensor for cut in cuts}) == 1
    assert tuple(cut.start for cut in cuts) == firsts
    assert len({cut.piece for cut in form.cuts(form.own)}) == 4 * len(form.own)


def test_one_head_changes_only_what_that_head_computes() -> None:
    """Changes the rows of query, key and value of one unit, and finds the head that they change by its output."""
    seed_torch(0)
    config = AdapterConfig(rank=4, train="heads")
    one_layer: dict[str, Any] = {**SIZES, "num_hidden_layers": 1}
    model: Any = LlamaForCausalLM(LlamaConfig(**one_layer, num_key_value_heads=2)).eval()
    found = attach(model, config)
    form = found.blueprint(config)
    rng, state = np.random.default_rng(0), form.start(0)
    moved = form.placed(
        {
            name: rng.normal(size=value.shape).astype(np.float32)
            for name, value in form.pieces(state, [1]).items()
            if "o_proj" not in name
        }
        | {name: value for name, value in form.pieces(state, [1]).items() if "o_proj" in name},
        [1],
        state,
    )
    heads: list[torch.Tensor] = []
    out = found.sites["model.layers.0.self_attn.o_proj"]
    out.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0]))

    for one in (state, moved):
        for site in found.sites.values():
            site.mount({name: torch.tensor(value)[None] for name, value in one.items()}, scale=form.scale)
        with torch.no_grad():
            model(input_ids=torch.arange(8)[None])

    changed = (heads[0] != heads[1]).any(dim=(0, 1))
    assert not changed[:8].any(), "the other group's two heads"
    assert changed[8:].all()


def test_an_attention_of_unknown_form_is_refused() -> None:
    with pytest.raises(UserMistake, match="not of a known form"):
        blueprint("neox", train="heads")


def test_the_start_of_heads_adds_nothing_and_leaves_every_head_a_gradient() -> None:
    form = blueprint(train="heads")
    state = form.start(0)

    for name, values in state.items():
        assert bool(values.any()) == (name in form.frozen), name
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in form.frozen if name.endswith("B")} == {
        "o_proj"
    }


def test_a_bitmap_names_the_own_units_among_a_networks() -> None:
    form = blueprint(modules=("q_proj",))

    assert form.units_of(b"") == form.own
    assert form.units_of(form.schema.offer([0, 1, form.own[2]], 4).units) == (form.own[2],)
    with pytest.raises(WireError):
        form.units_of(b"\xff")


def test_modules_are_named_by_the_last_parts_of_their_names() -> None:
    small = blueprint("gpt2", modules=("attn.c_proj",))

    assert len(small.own) == 12
    assert all(".attn.c_proj." in spec.name for spec in small.layout.tensors)


def test_a_narrowed_form_is_the_same_network_at_a_smaller_rank() -> None:
    form, less = blueprint(modules=("q_proj",)), blueprint(rank=3, modules=("q_proj",))

    narrowed = form.narrowed(3)

    assert (narrowed.rank, narrowed.own, narrowed.layout) == (3, less.own, less.layout)
    assert narrowed.fingerprint == form.fingerprint
    assert narrowed.offer == less.offer
