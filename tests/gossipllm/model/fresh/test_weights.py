"""Tests of the weights of a random base: who draws them makes no difference."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from gossipllm.model.fresh.shape import BaseShape
from gossipllm.model.fresh.weights import model_config, weights

SHAPE = BaseShape(hidden=16, layers=2, heads=2)


def drawn(shape: BaseShape, vocabulary: int = 300) -> dict[str, torch.Tensor]:
    return weights(shape, model_config(shape, vocabulary, special={}))


def digest(tensors: dict[str, torch.Tensor]) -> str:
    data = b"".join(
        name.encode() + value.view(torch.int16).numpy().astype("<i2").tobytes()
        for name, value in sorted(tensors.items())
    )
    return hashlib.sha256(data).hexdigest()[:16]


def test_the_weights_of_a_seed_never_change() -> None:
    """Peers that updated and peers that did not must have one base."""
    assert digest(drawn(SHAPE)) == "3221ca1d207bb7ce"


def test_weights_do_not_depend_on_the_state_of_any_generator() -> None:
    torch.manual_seed(1)  # pyright: ignore[reportUnknownMemberType]
    one = drawn(SHAPE)
    torch.manual_seed(2)  # pyright: ignore[reportUnknownMemberType]
    torch.rand(3)

    assert digest(one) == digest(drawn(SHAPE))


def test_another_seed_is_another_base() -> None:
    assert digest(drawn(SHAPE)) != digest(drawn(replace(SHAPE, seed="another")))


def test_more_tokens_add_rows_and_leave_the_others_alone() -> None:
    few, many = drawn(SHAPE, 300), drawn(SHAPE, 310)

    table = "model.embed_tokens.weight"
    assert torch.equal(few[table], many[table][:300])
    assert all(torch.equal(few[name], many[name]) for name in few if name != table)


def test_deviations_are_those_of_the_paper_and_norms_begin_at_one() -> None:
    found = drawn(replace(SHAPE, hidden=64))

    assert found["model.layers.0.mlp.up_proj.weight"].float().std().item() == pytest.approx(
        (2 / (5 * 64)) ** 0.5, rel=0.03
    )
    assert found["model.layers.1.mlp.down_proj.weight"].float().std().item() == pytest.approx(
        2 / (2 * 64**0.5), rel=0.03
    )
    assert bool((found["model.norm.weight"] == 1).all())
    assert "lm_head.weight" not in found, "the head is tied to the embeddings"
