"""Tests of loading a base model, and of the fingerprints of base and tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
)
from transformers import AutoModelForCausalLM

from gossipllm.config import ModelConfig
from gossipllm.model.loading.models import base_fingerprint, load_base, tokenizer_fingerprint
from support.zoo.shrinking import tiny
from trust.errors import UserMistake

Folder = Callable[[str], Path]


def loaded(folder: Path, dtype: Any = "float32") -> Any:
    return load_base(ModelConfig(name=str(folder), device="cpu", dtype=dtype, threads=1))


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_the_base_has_the_same_fingerprint_in_float32_and_bfloat16(model_folder: Folder, family: str) -> None:
    wide, narrow = loaded(model_folder(family)), loaded(model_folder(family), "bfloat16")

    assert narrow.model.dtype == torch.bfloat16
    assert base_fingerprint(wide.model) == base_fingerprint(narrow.model)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_a_loaded_model_computes_the_buffers_that_its_configuration_asks_for(
    model_folder: Folder, family: str
) -> None:
    """Rotations, for example: they are in no file, and memory that nothing filled looks like numbers too."""
    model = loaded(model_folder(family)).model
    made = cast("Any", AutoModelForCausalLM).from_config(model.config, dtype=torch.float32)

    wanted = dict(made.named_buffers())
    assert {name for name, _ in model.named_buffers()} == wanted.keys()
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, wanted[name]), name


def test_a_changed_weight_gives_the_base_another_fingerprint(model_folder: Folder) -> None:
    model = loaded(model_folder("llama")).model
    before = base_fingerprint(model)

    model.model.layers[1].mlp.down_proj.weight[0, 0] += 0.5

    assert base_fingerprint(model) != before


def test_a_setting_that_changes_the_computation_gives_the_base_another_fingerprint(
    model_folder: Folder, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text())
    settings["rope_parameters"]["rope_theta"] = 50_000.0
    (folder / "config.json").write_text(json.dumps(settings))

    assert base_fingerprint(loaded(folder).model) != base_fingerprint(loaded(model_folder("llama")).model)


def test_one_file_and_many_in_another_type_have_one_fingerprint(model_folder: Folder, tmp_path: Path) -> None:
    model = loaded(model_folder("llama")).model
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    loaded(model_folder("llama"), "bfloat16").model.save_pretrained(folder, max_shard_size="20KB")
    again = loaded(folder).model
    again.set_attn_implementation("eager")

    assert len(list(folder.glob("*.safetensors"))) > 1
    assert base_fingerprint(again) == base_fingerprint(model)


@pytest.mark.parametrize("family", ["phi3", "stablelm"])
def test_where_a_version_keeps_the_settings_of_rotary_positions_changes_no_fingerprint(family: str) -> None:
    """transformers 5.0 holds `partial_rotary_factor` in two places for these families, 5.23 in one."""
    model: Any = cast("Any", AutoModelForCausalLM).from_config(tiny(family))
    new = base_fingerprint(model)
    factor = model.config.rope_parameters["partial_rotary_factor"]

    model.config.partial_rotary_factor = factor
    both = base_fingerprint(model)
    del model.config.rope_parameters["partial_rotary_factor"]
    old = base_fingerprint(model)
    model.config.partial_rotary_factor = factor / 2

    assert new == both == old
    assert base_fingerprint(model) != new


def test_a_tied_head_is_counted_once(model_folder: Folder) -> None:
    model = loaded(model_folder("llama")).model
    tied = base_fingerprint(model)

    model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.detach().clone())

    assert base_fingerprint(model) != tied, "the same numbers, but now a weight of its own"


def test_the_base_is_frozen_and_without_dropout(model_folder: Folder) -> None:
    model = loaded(model_folder("gpt2")).model

    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_settings_of_the_last_call_do_not_change_a_tokenizers_fingerprint(tokenizer: Any) -> None:
    before = tokenizer_fingerprint(tokenizer)

    tokenizer.backend_tokenizer.enable_truncation(5)

    assert tokenizer_fingerprint(tokenizer) == before
    tokenizer.backend_tokenizer.no_truncation()


def test_another_token_changes_a_tokenizers_fingerprint(model_folder: Folder) -> None:
    tokenizer = loaded(model_folder("llama")).tokenizer
    before = tokenizer_fingerprint(tokenizer)

    tokenizer.add_tokens(["otters"])

    assert tokenizer_fingerprint(tokenizer) != before


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("*.safetensors", "no weights"), ("tokenizer*", "no tokenizer"), ("config.json", "no config.json")],
)
def test_a_folder_that_lacks_a_part_is_a_user_error(
    model_folder: Folder, tmp_path: Path, pattern: str, says: str
) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    for file in folder.glob(pattern):
        file.unlink()

    with pytest.raises(UserMistake, match=says):
        loaded(folder)


def test_weights_that_lack_a_tensor_are_not_filled_in_at_random(model_folder: Folder, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(UserMistake, match=r"lacks 1 weight, the first is model\.norm\.weight"):
        loaded(folder)


def test_a_path_is_not_looked_up_on_the_hub() -> None:
    with pytest.raises(UserMistake, match=r"there is no folder \./nowhere"):
        load_base(ModelConfig(name="./nowhere", device="cpu"))


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_is_a_user_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(UserMistake, match="no folder here"):
        load_base(ModelConfig(name="nobody/nothing", device="cpu"))
