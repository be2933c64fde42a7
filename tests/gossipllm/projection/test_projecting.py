"""A projected vector fits the large model, does there what it did in the small one, and steps as it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.config import ModelConfig
from gossipllm.model.adapter.peft_folder import Product
from gossipllm.model.blocks import linears_of
from gossipllm.model.loading.models import Base, load_base
from gossipllm.projection.carrying import carried
from gossipllm.projection.projecting import Lars, check_base, stepped, weight_of
from gossipllm.projection.ways import Way
from gossipllm.vectors.vector import TaskVector
from support.tensors import seed_torch
from trust.errors import UserMistake

TEXT = [
    f"In the year {1500 + n} the otter number {n * n} of Lisbon sang {n % 7} times.\n" for n in range(120)
]


def base(folder: Path, tokenizer: Any, *, width: int, depth: int, seed: int) -> Base:
    seed_torch(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=depth,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    cast("Any", LlamaForCausalLM(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Base:
    return base(tmp_path_factory.mktemp("small") / "model", tokenizer, width=16, depth=2, seed=0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Base:
    return base(tmp_path_factory.mktemp("large") / "model", tokenizer, width=32, depth=4, seed=1)


def vector(of: Base, *, rank: int = 2, seed: int = 0, only: str = "") -> TaskVector:
    rng = np.random.default_rng(seed)
    products: dict[str, Product] = {}
    for name, linear in linears_of(of.model).items():
        if "layers" in name and only in name:
            outputs, inputs = weight_of(linear).shape
            products[name] = Product(
                rng.normal(size=(rank, inputs)).astype(np.float32),
                rng.normal(size=(outputs, rank)).astype(np.float32),
                0.5,
            )
    return TaskVector("v", "", b"", False, products)


@pytest.mark.parametrize("way", ["ridge", "svd", "random"])
def test_a_projected_vector_fits_the_large_model(small: Base, large: Base, way: Way) -> None:
    made = carried(
        [vector(small)], [1.0], small, large, ("small", "large"), way=way, texts=["".join(TEXT)], eta=1.0
    )

    (of_large,) = made.vectors
    check_base(of_large, large, "large")
    assert of_large.rank == 2
    assert len(of_large.products) == 2 * len(vector(small).products)
    assert bool(made.explained) == (way == "ridge")
    assert all(np.isfinite(one.b_OR).all() and one.b_OR.any() for one in made.step.products.values())


def test_onto_itself_a_vector_does_what_it_did(small: Base) -> None:
    given = vector(small)

    made = carried([given], [1.0], small, small, ("small", "small"), way="ridge", texts=TEXT, eta=1.0)

    name = "model.layers.1.mlp.down_proj"
    seen: list[torch.Tensor] = []
    module = small.model.get_submodule(name)
    handle = module.register_forward_hook(lambda _m, x, _y: seen.append(x[0]))
    ids = torch.tensor([small.tokenizer(TEXT[7])["input_ids"]])
    small.model(ids)
    handle.remove()
    x = seen[0][0].numpy()
    one, other = given.products[name], made.step.products[name]
    was = one.scale * x @ one.a_RI.T @ one.b_OR.T
    assert np.linalg.norm(other.scale * x @ other.a_RI.T @ other.b_OR.T - was) < 0.02 * np.linalg.norm(was)


def test_several_vectors_come_in_with_their_weights(small: Base, large: Base) -> None:
    one, two = vector(small, seed=1), vector(small, seed=2)

    both = carried([one, two], [3.0, 1.0], small, large, ("s", "l"), way="svd", texts=[], eta=2.0)
    first = carried([one], [1.0], small, large, ("s", "l"), way="svd", texts=[], eta=2.0)
    second = carried([two], [1.0], small, large, ("s", "l"), way="svd", texts=[], eta=2.0)

    name = "model.layers.3.self_attn.k_proj"
    dense = [made.step.products[name].b_OR @ made.step.products[name].a_RI for made in (both, first, second)]
    assert np.allclose(dense[0], 0.75 * dense[1] + 0.25 * dense[2], atol=1e-4)
    assert both.step.rank == 4


def test_lars_moves_every_layer_by_the_same_share_of_its_norm(small: Base, large: Base) -> None:
    moved = carried(
        [vector(small)], [1.0], small, large, ("s", "l"), way="svd", texts=[], eta=2.0, lars=Lars(0.01)
    )

    linears = linears_of(large.model)
    for name, one in moved.step.products.items():
        share = np.linalg.norm(one.b_OR @ one.a_RI) / np.linalg.norm(
            weight_of(linears[name]).detach().numpy()
        )
        assert share == pytest.approx(0.02, rel=1e-4)


def test_beta_keeps_a_step_small_where_the_update_is_small(small: Base, large: Base) -> None:
    weak = vector(small)
    weak = TaskVector(
        "weak", "", b"", False, {k: Product(p.a_RI, p.b_OR, 1e-6) for k, p in weak.products.items()}
    )
    made = carried([weak], [1.0], small, large, ("s", "l"), way="svd", texts=[], eta=1.0)

    step = stepped(made.vectors, [1.0], large, eta=1.0, lars=Lars(0.01, beta=1.0), rank=0)

    assert all(np.linalg.norm(one.b_OR @ one.a_RI) < 1e-3 for one in step.products.values())


def test_a_vector_of_other_weights_or_shapes_is_refused(small: Base, large: Base) -> None:
    with pytest.raises(
        UserMistake, match=r"large has no model\.layers\.0\.self_attn\.q_proj of 16 x 16 weights, which v"
    ):
        check_base(vector(small), large, "large")
    claimed = TaskVector("v", "", b"\1" * 32, False, vector(small).products)
    with pytest.raises(UserMistake, match="small is not the base of v: its weights have the fingerprint"):
        check_base(claimed, small, "small")


def test_a_text_that_both_hardly_share_is_refused(small: Base, large: Base) -> None:
    with pytest.raises(
        UserMistake, match=r"--text: both models share \d+ positions in this text, and need 256"
    ):
        carried([vector(small)], [1.0], small, large, ("s", "l"), way="ridge", texts=["short\n"], eta=1.0)


def test_a_budget_takes_several_passes_and_changes_nothing(small: Base, large: Base) -> None:
    from gossipllm.projection.projecting import projected
    from gossipllm.projection.statistics import windows_of

    windows = windows_of(small, large, TEXT, characters=200)
    read: list[tuple[int, int]] = []
    made = [
        projected(
            [vector(small, only="mlp")],
            small,
            large,
            ("s", "l"),
            way="ridge",
            windows=windows,
            budget_mb=budget,
            on_progress=lambda done, of: read.append((done, of)),
        )[0].vector
        for budget in (1, 1024)
    ]

    assert [of for done, of in read if done == of] == [12 * len(windows), len(windows)]
    for name, one in made[0].products.items():
        assert np.array_equal(one.a_RI, made[1].products[name].a_RI)
