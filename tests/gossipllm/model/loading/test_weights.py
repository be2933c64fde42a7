"""Tests of models that are read from their files tensor by tensor, against models that transformers loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
)

from gossipllm.config import ModelConfig
from gossipllm.model.blocks import blocks_name, blocks_of
from gossipllm.model.loading.models import base_fingerprint, load_base, open_base
from trust.errors import UserMistake

Folder = Callable[[str], Path]
TOKENS_BT = torch.arange(48).view(2, 24)


def named(folder: Path, dtype: Any = "float32") -> ModelConfig:
    return ModelConfig(name=str(folder), device="cpu", dtype=dtype, threads=1)


def filled(config: ModelConfig) -> Any:
    base, weights = open_base(config)
    for index, block in enumerate(blocks_of(base.model)):
        assert all(value.is_meta for value in block.parameters() if value.dim() == 2), "hollow until its turn"
        weights.fill(block, prefix=f"{blocks_name(base.model)}.{index}.")
    return base.model


def rewritten(folder: Path, copy: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A copy of a model's folder, with `change` applied to its weights."""
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_is_filled_block_by_block_is_the_one_that_is_loaded(
    model_folder: Folder, family: str, dtype: Any
) -> None:
    config = named(model_folder(family), dtype)
    want: Any = load_base(config).model

    made = filled(config)

    assert str(made) == str(want), "the same modules"
    assert made.config.to_dict() == want.config.to_dict()
    for one, other in (
        (made.named_buffers(), want.named_buffers()),
        (made.named_parameters(), want.named_parameters()),
    ):
        left, right = dict(one), dict(other)
        assert list(left) == list(right), "tied as it is"
        assert all(torch.equal(value, right[name]) for name, value in left.items())
        assert not any(value.requires_grad for value in left.values())
    assert torch.equal(made(input_ids=TOKENS_BT).logits, want(input_ids=TOKENS_BT).logits)
    assert not any(module.training for module in made.modules())


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_base_has_its_name_before_it_is_read(model_folder: Folder, family: str, dtype: Any) -> None:
    base, weights = open_base(named(model_folder(family), dtype))

    assert base_fingerprint(base.model, weights) == base_fingerprint(
        load_base(named(model_folder(family))).model
    )


def test_names_may_lack_the_prefix_of_the_model_within(model_folder: Folder, tmp_path: Path) -> None:
    """The files of GPT-2 on the hub lack it."""

    def strip(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    folder = rewritten(model_folder("gpt2"), tmp_path / "model", strip)

    assert base_fingerprint(filled(named(folder))) == base_fingerprint(
        load_base(named(model_folder("gpt2"))).model
    )


def test_weights_may_lie_in_several_files(model_folder: Folder, tmp_path: Path) -> None:
    want: Any = load_base(named(model_folder("llama"))).model
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    want.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2

    made = filled(named(folder))

    assert torch.equal(made(input_ids=TOKENS_BT).logits, want(input_ids=TOKENS_BT).logits)


def test_a_tied_head_may_be_stored_twice_but_not_with_different_values(
    model_folder: Folder, tmp_path: Path
) -> None:
    def twice(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    def unlike(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1

    same = rewritten(model_folder("llama"), tmp_path / "same", twice)
    other = rewritten(model_folder("llama"), tmp_path / "other", unlike)

    assert base_fingerprint(filled(named(same))) == base_fingerprint(
        load_base(named(model_folder("llama"))).model
    )
    with pytest.raises(UserMistake, match=r"are one weight by its configuration, but not in its files; take"):
        open_base(named(other))


def test_a_format_that_cannot_be_read_by_tensor_is_refused_in_one_line(
    model_folder: Folder, tmp_path: Path
) -> None:
    def without(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.fused"] = tensors.pop("model.layers.1.mlp.up_proj.weight")

    def narrower(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] = tensors["model.norm.weight"][1:].clone()

    for name, change, says in (
        ("a", without, r"its files hold no model\.layers\.1\.mlp\.up_proj\.weight; take model\.held"),
        ("b", narrower, r"model\.norm\.weight is \(31,\) in its file, not \(32,\); take model\.held"),
    ):
        with pytest.raises(UserMistake, match=says):
            open_base(named(rewritten(model_folder("llama"), tmp_path / name, change)))


def test_weights_that_are_quantised_already_are_refused(model_folder: Folder, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(settings | {"quantization_config": {"quant_method": "fp8"}})
    )

    with pytest.raises(UserMistake, match="quantised already; take"):
        open_base(named(folder))


def test_a_broken_index_of_files_is_a_user_error(model_folder: Folder, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "other.safetensors")

    with pytest.raises(UserMistake, match=r"it has no model\.safetensors; take"):
        open_base(named(folder))
    for none in ("{}", '{"weight_map": []}', '{"weight_map": {"a": 1, "b": "c"}}', "[]", "nonsense"):
        (folder / "model.safetensors.index.json").write_text(none)
        with pytest.raises(UserMistake, match=r"lists no files|is damaged: it is no JSON"):
            open_base(named(folder))


def test_a_file_that_is_no_safetensors_is_a_user_error(model_folder: Folder, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"nothing of the kind")

    with pytest.raises(UserMistake, match=r"model\.name: .*model\.safetensors is cut or damaged"):
        open_base(named(folder))


def test_a_configuration_of_an_unknown_model_type_is_a_user_error(
    model_folder: Folder, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "none of them"}))

    with pytest.raises(UserMistake, match=r"model\.name: the \w+ in .* cannot be read"):
        open_base(named(folder))


def test_a_file_that_changed_since_it_was_opened_is_not_read(model_folder: Folder, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    _, weights = open_base(named(folder))
    file = folder / "model.safetensors"
    weights.read("model.norm.weight")

    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    with pytest.raises(UserMistake, match="has changed while it was in use"):
        weights.read("model.norm.weight")
    file.unlink()
    with pytest.raises(UserMistake, match="cannot be read any more"):
        weights.read("model.norm.weight")
