"""Tests of distilled contexts: fitting fewer blocks to replace many, and decoding such blocks from other peers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from gossipllm.model.adapter.sites import LoraSite
from gossipllm.model.blocks import blocks_name, blocks_of, linears_of
from gossipllm.model.blocks import replace as put
from gossipllm.model.contexts.compressed import compressed
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.distilled import distil, runs
from gossipllm.model.contexts.encoding import (
    context_key,
    decode_context,
    encode_context,
    fitted_shapes,
    most_bytes,
)
from gossipllm.model.contexts.fidelity import fidelity
from support.tensors import seed_torch
from wire.errors import WireError

CONFIG = ContextConfig(operator="distil", ratio=0.5, steps=60, learning_rate=3e-3)
WINDOW = BlockWindow(0)
REFERENCE_WT = (np.arange(10 * 16, dtype=np.int32) ** 2 % 101).reshape(10, 16)


def drawn(family: str = "llama") -> Any:
    seed_torch(3)
    made: Any
    if family == "gpt2":
        made = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=101, n_embd=32, n_layer=5, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0
            )
        )
    else:
        shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 5}
        heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
        made = LlamaForCausalLM(LlamaConfig(vocab_size=101, max_position_embeddings=32, **shape, **heads))
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.mul_(4 if value.dim() == 2 and blocks_name(made) in name else 1)
    return made.eval().requires_grad_(False)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(value, right[name]) for name, value in left.items()
    )


@pytest.mark.parametrize(
    ("window", "blocks", "ratio", "want"),
    [
        (BlockWindow(0), 5, 0.5, [range(1, 3), range(3, 5)]),
        (BlockWindow(2), 5, 0.5, [range(2), range(3, 5)]),
        (BlockWindow(4), 5, 0.75, [range(2), range(2, 3), range(3, 4)]),
        (BlockWindow(1), 12, 0.25, [range(1), range(2, 7), range(7, 12)]),
        (BlockWindow(1), 5, 0.1, [range(2, 5)]),
        (BlockWindow(1), 4, 1.0, [range(1), range(2, 3), range(3, 4)]),
        (BlockWindow(0, 3), 3, 0.5, []),
    ],
)
def test_students_stand_for_runs_of_blocks_on_either_side(
    window: BlockWindow, blocks: int, ratio: float, want: list[range]
) -> None:
    assert runs(window, replace(CONFIG, ratio=ratio), blocks) == want


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_fitted_block_does_better_than_dropped_ones(family: str) -> None:
    model = drawn(family)

    fitted = distil(model, WINDOW, CONFIG, REFERENCE_WT)

    untrained = distil(model, WINDOW, replace(CONFIG, steps=0), REFERENCE_WT)
    unlike = [
        fidelity(model, compressed(model, WINDOW, CONFIG, fitted=each), REFERENCE_WT)
        for each in (fitted, untrained)
    ]
    dropped = compressed(model, WINDOW, replace(CONFIG, operator="drop"), fitted=fitted)
    assert unlike[0] < 0.5 * unlike[1], "it learns"
    assert unlike[0] < 0.5 * fidelity(model, dropped, REFERENCE_WT)


def test_attention_alone_can_be_fitted_too() -> None:
    model = drawn()
    config = replace(CONFIG, alpha=1.0, steps=5)

    fitted = distil(model, WINDOW, config, REFERENCE_WT)
    untrained = distil(model, WINDOW, replace(config, steps=0), REFERENCE_WT)

    changed = [name for name, value in fitted.items() if not torch.equal(value, untrained[name])]
    moved = {name.partition("layers.1.")[2] for name in changed}
    assert {"self_attn.q_proj.weight", "self_attn.k_proj.weight"} <= moved
    assert "mlp.down_proj.weight" not in moved, "it comes after the attention"


def test_as_many_students_as_blocks_are_the_base_in_bfloat16() -> None:
    model = drawn()
    config = replace(CONFIG, ratio=1.0)

    other = compressed(model, WINDOW, config, fitted=distil(model, WINDOW, config, REFERENCE_WT))

    assert fidelity(model, other, REFERENCE_WT) < 1e-4


def test_nothing_can_be_fitted_to_no_text() -> None:
    with pytest.raises(ValueError, match="reference_WT must hold at least one window"):
        distil(drawn(), WINDOW, CONFIG, REFERENCE_WT[:0])


def test_distillation_is_a_function_of_its_arguments_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = drawn()
    config = replace(CONFIG, steps=5)

    first = distil(model, WINDOW, config, REFERENCE_WT)

    assert same(first, distil(model, WINDOW, config, REFERENCE_WT))
    assert same(first, distil(model, WINDOW, config, ~REFERENCE_WT)), (
        "what bears no loss is read all the same"
    )
    assert not same(first, distil(model, WINDOW, replace(config, seed=1), REFERENCE_WT))
    assert not list(tmp_path.iterdir())


def test_blocks_that_come_one_at_a_time_give_the_same() -> None:
    model, shell = drawn(), drawn()
    blocks_of(shell).to("meta")
    config = replace(CONFIG, steps=5)

    def fill(name: str, block: torch.nn.Module) -> None:
        block.to_empty(device="cpu").load_state_dict(model.get_submodule(name).state_dict())

    found = distil(shell, BlockWindow(1), config, REFERENCE_WT, fill=fill)

    assert same(found, distil(model, BlockWindow(1), config, REFERENCE_WT))
    assert all(value.is_meta for value in blocks_of(shell).parameters()), "all were let go"
    other = compressed(shell, BlockWindow(1), config, fitted=found, consume=True, fill=fill)
    want = compressed(model, BlockWindow(1), config, fitted=found)
    assert fidelity(want, other, REFERENCE_WT) == 0


def test_adapters_around_the_layers_change_neither_names_nor_numbers() -> None:
    plain, adapted = drawn(), drawn()
    config = replace(CONFIG, steps=3)
    for name, linear in linears_of(blocks_of(adapted)).items():
        put(blocks_of(adapted), name, LoraSite(name, linear))

    fitted = distil(adapted, WINDOW, config, REFERENCE_WT)

    assert same(fitted, distil(plain, WINDOW, config, REFERENCE_WT))
    assert fitted_shapes(adapted, WINDOW, config) == fitted_shapes(plain, WINDOW, config)
    other = compressed(adapted, WINDOW, config, fitted=fitted)
    assert isinstance(other.get_submodule("model.layers.1.mlp.up_proj"), LoraSite)
    assert fidelity(compressed(plain, WINDOW, config, fitted=fitted), other, REFERENCE_WT) == 0


SHAPES = fitted_shapes(drawn(), WINDOW, CONFIG)
ZEROS = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in SHAPES.items()}
NAME = "model.layers.1.mlp.up_proj.weight"


def test_what_is_encoded_is_decoded() -> None:
    fitted = {name: torch.randn(shape).bfloat16() for name, shape in SHAPES.items()}

    data = encode_context(fitted)

    assert len(data) <= most_bytes(SHAPES)
    assert same(decode_context(data, SHAPES), fitted)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"more": torch.zeros(1)}, "holds 19 tensors"),
        ({NAME: torch.zeros(80, 32)}, "F32"),
        ({NAME: torch.zeros(32, 80, dtype=torch.bfloat16)}, r"BF16 \[32, 80\], not BF16 \(80, 32\)"),
        ({NAME: torch.full((80, 32), torch.nan, dtype=torch.bfloat16)}, "not finite"),
        ({NAME: torch.full((80, 32), torch.inf, dtype=torch.bfloat16)}, "not finite"),
        ({NAME: torch.zeros(800, 320, dtype=torch.bfloat16)}, "at most"),
    ],
)
def test_a_wrong_context_is_refused_with_its_error(changed: dict[str, torch.Tensor], why: str) -> None:
    with pytest.raises(WireError, match=why):
        decode_context(save(ZEROS | changed), SHAPES)


def test_a_context_that_lacks_a_tensor_is_refused() -> None:
    with pytest.raises(WireError, match="holds 17 tensors, not the 18"):
        decode_context(save({name: value for name, value in ZEROS.items() if name != NAME}), SHAPES)


@given(st.binary(max_size=200), st.integers(0, 2_000))
def test_any_bytes_decode_or_raise_wire_error(noise: bytes, place: int) -> None:
    whole = encode_context(ZEROS)
    for data in (noise, whole[:place], whole[:place] + noise + whole[place + len(noise) :]):
        try:
            assert decode_context(data, SHAPES).keys() == SHAPES.keys()
        except WireError:
            continue


def test_a_context_is_named_by_all_that_it_comes_from() -> None:
    base, reference = bytes(32), bytes([1] * 32)
    keys = {
        context_key(base, reference, WINDOW, CONFIG),
        context_key(reference, base, WINDOW, CONFIG),
        context_key(base, base, WINDOW, CONFIG),
        context_key(base, reference, BlockWindow(1), CONFIG),
        context_key(base, reference, BlockWindow(0, 2), CONFIG),
        *(
            context_key(base, reference, WINDOW, replace(CONFIG, **{name: value}))
            for name, value in {
                "operator": "drop",
                "ratio": 0.25,
                "alpha": 0.25,
                "steps": 61,
                "batch_windows": 8,
                "learning_rate": 1e-4,
                "seed": 1,
            }.items()
        ),
    }
    assert len(keys) == 12
    assert {len(key) for key in keys} == {32}
