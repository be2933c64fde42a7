"""Tests of a base held in few bits: its memory, and which blocks are unpacked while a block window is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType] - typed in part
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.config import AdapterConfig, ModelConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.blocks import blocks_name, blocks_of, linears_of, plain
from gossipllm.model.contexts.compressed import compressed
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.held import packer
from gossipllm.model.contexts.packed_base import HeldPacked
from gossipllm.model.contexts.quantised import packed_in
from gossipllm.model.loading.models import load_base, open_base
from trust.errors import UserMistake

Folder = Callable[[str], Path]
TOKENS_BT = torch.arange(48).view(2, 24)


def config_of(folder: Path) -> ModelConfig:
    return ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1)


def held_of(folder: Path, bits: int, *, train: Any = "both") -> tuple[Any, HeldPacked]:
    base, weights = open_base(config_of(folder))
    attach(base.model, AdapterConfig(train=train))
    return base.model, HeldPacked(base.model, weights, packer(bits))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS_BT).logits


def held_bytes(model: Any) -> int:
    return sum(value.nbytes for value in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_packed_base_computes_what_a_copy_with_packed_blocks_does(
    model_folder: Folder, family: str, bits: int
) -> None:
    whole = load_base(config_of(model_folder(family))).model
    model, held = held_of(model_folder(family), bits)

    with held.opened(BlockWindow(1)):
        want = compressed(whole, BlockWindow(1), ContextConfig(operator=cast("Any", f"int{bits}")))
        assert torch.equal(logits(model), logits(want))


@pytest.mark.parametrize(("bits", "share"), [(8, 1 / 4), (4, 4.25 / 32)])
def test_a_packed_base_takes_little_more_memory_than_its_packed_weights(
    tmp_path: Path, tokenizer: Any, bits: int, share: float
) -> None:
    shape = LlamaConfig(
        vocab_size=320,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    LlamaForCausalLM(shape).save_pretrained(tmp_path)  # pyright: ignore[reportUnknownMemberType] - typed in part
    tokenizer.save_pretrained(tmp_path)
    whole: Any = load_base(config_of(tmp_path)).model
    linear = sum(layer.weight.nbytes for layer in linears_of(blocks_of(whole)).values())

    model, held = held_of(tmp_path, bits)

    # A hundredth is for the scales of 8 bits.
    assert held_bytes(model) == pytest.approx(held_bytes(whole) - (1 - share) * linear, rel=2e-2)
    before = held_bytes(model)
    with held.opened(BlockWindow(0)):
        assert held_bytes(model) - before == pytest.approx((1 - share) * linear / 3, rel=2e-2)
    assert held_bytes(model) == before


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("train", ["both", "full"])
def test_block_windows_are_opened_in_turn_with_the_weights_of_the_file(
    model_folder: Folder, family: str, bits: int, train: Any
) -> None:
    model, held = held_of(model_folder(family), bits, train=train)
    file = load_file(model_folder(family) / "model.safetensors")
    packed = logits(model)

    for first in (0, 1, 0):
        with held.opened(BlockWindow(first)):
            block, prefix = blocks_of(model)[first], f"{blocks_name(model)}.{first}."
            assert not packed_in(block)
            assert packed_in(blocks_of(model)[1 - first])
            for name, value in block.state_dict().items():
                assert torch.equal(value, file[plain(prefix + name)]), name
            assert not torch.equal(logits(model), packed)
        assert not linears_of(blocks_of(model)), "all are packed"
        assert torch.equal(logits(model), packed), "whatever was open last"


def test_a_file_that_goes_away_leaves_all_blocks_packed(model_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    load: Any = load_base(config_of(model_folder("llama")))
    load.model.save_pretrained(folder)
    load.tokenizer.save_pretrained(folder)
    model, held = held_of(folder, 8)
    packed = logits(model)
    (folder / "model.safetensors").unlink()

    with pytest.raises(UserMistake, match="cannot be read any more"), held.opened(BlockWindow(0, 2)):
        pass

    assert torch.equal(logits(model), packed)


def test_a_failure_in_training_leaves_all_blocks_packed(model_folder: Folder) -> None:
    model, held = held_of(model_folder("llama"), 8)

    with pytest.raises(KeyError), held.opened(BlockWindow(0, 2)):
        raise KeyError

    assert not linears_of(blocks_of(model))
