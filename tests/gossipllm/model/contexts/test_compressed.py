"""Tests of compressed contexts of a block window: names, gradients, memory, and fidelity to the base."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from gossipllm.model.blocks import blocks_name, blocks_of
from gossipllm.model.contexts.compressed import checkpointed, compressed
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.distilled import distil
from gossipllm.model.contexts.dropped import Skipped, staying
from gossipllm.model.contexts.fidelity import fidelity
from support.tensors import named_modules, seed_torch

BLOCKS = 5
FAMILIES = ("gpt2", "llama", "bloom")
WINDOW = BlockWindow(2)
WINDOWS_WT = (np.arange(6 * 16, dtype=np.int32) * 37 % 101).reshape(6, 16)


def drawn(family: str) -> Any:
    seed_torch(3)
    made: Any
    if family == "gpt2":
        made = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=101,
                n_embd=32,
                n_layer=BLOCKS,
                n_head=4,
                n_positions=32,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
    elif family == "bloom":
        made = BloomForCausalLM(BloomConfig(vocab_size=101, hidden_size=32, n_layer=BLOCKS, n_head=4))
    else:
        made = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=101,
                hidden_size=32,
                intermediate_size=80,
                num_hidden_layers=BLOCKS,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=32,
            )
        )
    made.eval().requires_grad_(False)
    with torch.no_grad():
        for name, value in made.named_parameters():
            # As drawn, blocks do next to nothing: make what they do matter.
            value.mul_(4 if value.dim() == 2 and blocks_name(made) in name else 1)
    return made


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return drawn(request.param)


def slopes(model: Any, window: BlockWindow) -> list[torch.Tensor]:
    """The gradient of the loss in the weights of the first block of the block window."""
    tokens = torch.tensor(WINDOWS_WT, dtype=torch.int64)
    values = list(blocks_of(model)[window.first].requires_grad_().parameters())
    logits = model(input_ids=tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    found = torch.autograd.grad(loss, values)
    blocks_of(model)[window.first].requires_grad_(False)
    return list(found)


def likeness(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    one, other = (torch.cat([each.flatten() for each in side]) for side in (left, right))
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


@pytest.mark.parametrize("operator", ["none", "int8", "int4", "drop", "distil"])
def test_names_and_the_block_window_are_those_of_the_base(model: Any, operator: Any) -> None:
    config = ContextConfig(operator=operator, steps=1)
    fitted = distil(model, WINDOW, config, WINDOWS_WT) if operator == "distil" else None
    before = {name: value.clone() for name, value in model.named_parameters()}

    other = compressed(model, WINDOW, config, fitted=fitted)

    name = f"{blocks_name(model)}.{WINDOW.first}"
    assert other.get_submodule(name) is model.get_submodule(name), "so adapters beside it stay"
    assert len(blocks_of(other)) == BLOCKS
    assert other.get_input_embeddings().weight is model.get_input_embeddings().weight
    assert all(torch.equal(value, before[key]) for key, value in model.named_parameters())
    assert len(list(model.parameters())) == len(before), "the base is whole"
    logits = other(input_ids=torch.tensor(WINDOWS_WT, dtype=torch.int64), use_cache=False).logits
    assert logits.shape == (6, 16, 101)


def test_eight_bits_are_close_to_the_base_and_four_bits_roughly(model: Any) -> None:
    whole = slopes(model, WINDOW)
    eight = compressed(model, WINDOW, ContextConfig(operator="int8"))
    four = compressed(model, WINDOW, ContextConfig(operator="int4"))
    dropped = compressed(model, WINDOW, ContextConfig(operator="drop"))

    # Against what leaving half of the blocks out does: measured 1e-4 to 3e-4, and 0.03 to 0.06.
    unlike = [fidelity(model, other, WINDOWS_WT) for other in (eight, four, dropped)]
    assert 0 < unlike[0] < 1e-3 * unlike[2]
    assert unlike[0] < unlike[1] < 0.1 * unlike[2]
    assert likeness(slopes(eight, WINDOW), whole) > 0.999
    assert likeness(slopes(four, WINDOW), whole) > 0.9


def test_no_context_is_the_base(model: Any) -> None:
    assert fidelity(model, compressed(model, WINDOW, ContextConfig(operator="none")), WINDOWS_WT) == 0


def test_a_dropped_block_is_skipped(model: Any) -> None:
    config = ContextConfig(operator="drop", ratio=0.5)

    other = compressed(model, WINDOW, config)

    skipped = [index for index, block in enumerate(blocks_of(other)) if isinstance(block, Skipped)]
    assert skipped == [1, 3], "the first and the last stay"
    held = blocks_of(model)
    for index in skipped:
        held[index] = blocks_of(other)[index]
    assert fidelity(model, other, WINDOWS_WT) == 0


@pytest.mark.parametrize(
    ("window", "ratio", "want"),
    [
        (BlockWindow(0), 1.0, [1, 2, 3, 4, 5, 6, 7]),
        (BlockWindow(0), 0.5, [1, 3, 5, 7]),
        (BlockWindow(3, 2), 0.5, [0, 2, 7]),
        (BlockWindow(7), 0.01, [3]),
        (BlockWindow(0, 8), 0.5, []),
    ],
)
def test_blocks_that_stay_are_spread_evenly(window: BlockWindow, ratio: float, want: list[int]) -> None:
    assert staying(window, ContextConfig(operator="drop", ratio=ratio), 8) == want


def test_a_decimal_ratio_keeps_the_number_it_means() -> None:
    assert ContextConfig(ratio=0.1).kept(30) == 3, "0.1 * 30 is above 3 in floating point"
    assert ContextConfig(ratio=0.35).kept(11) == 4


def test_checkpointing_changes_no_gradient_and_no_name(model: Any) -> None:
    other = compressed(model, BlockWindow(1), ContextConfig(operator="int8"))
    names = [name for name, _ in named_modules(other)]
    want = slopes(other, BlockWindow(1))

    with checkpointed(other, BlockWindow(1)):
        found = slopes(other, BlockWindow(1))

    assert [name for name, _ in named_modules(other)] == names
    for one, two in zip(found, want, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_checkpointing_keeps_less_for_the_backward_pass(model: Any) -> None:
    kept_bytes: list[int] = []
    for context in (None, checkpointed(model, BlockWindow(0))):
        total = 0

        def keep(value: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += value.numel()
            return value

        blocks_of(model)[0].requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            if context is None:
                model(input_ids=torch.tensor(WINDOWS_WT, dtype=torch.int64), use_cache=False)
            else:
                with context:
                    model(input_ids=torch.tensor(WINDOWS_WT, dtype=torch.int64), use_cache=False)
        kept_bytes.append(total)

    assert kept_bytes[1] < kept_bytes[0] / 3


def test_nothing_is_kept_of_blocks_before_the_block_window(model: Any) -> None:
    def kept(window: BlockWindow) -> int:
        seen: set[int] = set()
        blocks_of(model).requires_grad_(False)
        blocks_of(model)[window.first].requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda value: seen.add(id(value)) or value, lambda value: value
        ):
            model(input_ids=torch.tensor(WINDOWS_WT, dtype=torch.int64), use_cache=False)
        return len(seen)

    assert kept(BlockWindow(BLOCKS - 1)) < kept(BlockWindow(0)) / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_made_block_by_block_and_consumed(family: str) -> None:
    model, shell = drawn(family), drawn(family)
    want = compressed(model, WINDOW, ContextConfig(operator="int4"))
    held = {f"{blocks_name(model)}.{index}": block for index, block in enumerate(blocks_of(model))}
    blocks_of(shell).to("meta")
    filled: list[str] = []

    def fill(name: str, block: torch.nn.Module) -> None:
        filled.append(name)
        assert all(
            not value.is_meta for done in blocks_of(shell)[: len(filled) - 1] for value in done.parameters()
        )
        block.to_empty(device="cpu").load_state_dict(held[name].state_dict())

    made = compressed(shell, WINDOW, ContextConfig(operator="int4"), consume=True, fill=fill)

    assert made is shell
    assert filled == list(held)
    assert fidelity(want, made, WINDOWS_WT) == 0


def test_impossible_arguments_are_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="the block window ends at block 6, the model has 5"):
        compressed(model, BlockWindow(4, 2), ContextConfig())
    with pytest.raises(ValueError, match="needs the fitted tensors"):
        compressed(model, WINDOW, ContextConfig(operator="distil"))
    with pytest.raises(ValueError, match="fill needs consume"):
        compressed(model, WINDOW, ContextConfig(), fill=lambda _name, _block: None)
    with pytest.raises(ValueError, match="first must be at least 0"):
        BlockWindow(-1)
    with pytest.raises(ValueError, match=r"ratio must be in \(0, 1\]"):
        ContextConfig(ratio=0.0)
