"""Layers of two models are matched by depth and by part; what has no counterpart is said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gossipllm.projection.matching import Model, matched
from trust.errors import UserMistake

LLAMA = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj")


def model(depth: int, layers: Sequence[str] = LLAMA, *, blocks: str = "model.layers") -> Model:
    names = {f"{blocks}.{block}.{layer}" for block in range(depth) for layer in layers}
    return Model("small" if depth < 4 else "large", blocks, depth, frozenset(names))


def test_a_block_of_a_shallow_model_stands_for_those_at_its_depth() -> None:
    small = model(2)

    pairs = matched(small, small.linears, model(4)).pairs

    assert [pairs[f"model.layers.{block}.mlp.up_proj"] for block in range(4)] == [
        f"model.layers.{block}.mlp.up_proj" for block in (0, 0, 1, 1)
    ]


def test_an_equal_depth_maps_each_block_to_itself() -> None:
    assert all(one == other for one, other in matched(model(3), model(3).linears, model(3)).pairs.items())


def test_other_families_call_the_same_part_otherwise() -> None:
    opt = model(4, ("self_attn.q_proj", "self_attn.out_proj", "fc1"), blocks="model.decoder.layers")

    pairs = matched(model(2), model(2).linears, opt).pairs

    assert pairs["model.decoder.layers.3.self_attn.out_proj"] == "model.layers.1.self_attn.o_proj"
    assert pairs["model.decoder.layers.0.fc1"] == "model.layers.0.mlp.up_proj"


def test_what_the_large_model_computes_in_one_layer_is_left_out_and_said() -> None:
    fused = model(4, ("attn.c_attn", "attn.c_proj"), blocks="transformer.h")

    found = matched(model(2), model(2).linears, fused)

    assert set(found.pairs.values()) == {f"model.layers.{block}.self_attn.o_proj" for block in (0, 1)}
    assert found.left == tuple(
        f"model.layers.{block}.{name}" for block in (0, 1) for name in ("mlp.up_proj", "self_attn.q_proj")
    )


def test_layers_outside_the_blocks_are_left_out() -> None:
    small = Model("small", "model.layers", 2, model(2).linears | {"lm_head"})

    assert matched(small, small.linears, model(4)).left == ("lm_head",)


def test_a_deeper_model_is_refused_in_one_line() -> None:
    with pytest.raises(
        UserMistake, match="large has 4 blocks and small 2: a projection goes from a shallow model"
    ):
        matched(model(4), model(4).linears, model(2))


def test_models_without_a_common_part_are_refused() -> None:
    other = model(4, ("mixer.in_proj",), blocks="backbone.layers")

    with pytest.raises(UserMistake, match="has no layer that stands for one of those adapted in small"):
        matched(model(2), model(2).linears, other)
