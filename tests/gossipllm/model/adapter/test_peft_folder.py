"""Tests of reading adapters of PEFT's: the products are those that PEFT adds, and what is more is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
)
from torch import nn

from gossipllm.model.adapter.peft_folder import CONFIG, TENSORS, peft_tensors, read_peft
from trust.errors import UserMistake

MODULES = ["first", "second"]


class Linears(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5, bias=False)
        self.second = nn.Linear(5, 4, bias=False)


def written(folder: Path, **settings: Any) -> Any:
    """A PEFT model with random factors, saved in the folder."""
    rng = torch.Generator().manual_seed(0)
    config: Any = LoraConfig(target_modules=MODULES, r=2, lora_alpha=6, **settings)
    model = cast("Any", get_peft_model)(Linears(), config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.copy_(torch.randn(value.shape, generator=rng))
    model.save_pretrained(folder)
    return model


def changed(folder: Path, **config: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"second": 3}, "alpha_pattern": {"second": 5}},
        {"use_rslora": True, "rank_pattern": {"first": 1}, "alpha_pattern": {"fir.*": 5}},
    ],
)
def test_products_are_what_peft_adds(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = written(tmp_path, **settings)

    found = read_peft(tmp_path, "--adapter")

    assert list(found.products) == MODULES
    for name, one in found.products.items():
        layer = model.base_model.model.get_submodule(name)
        expected = layer.get_delta_weight("default").detach().numpy()
        np.testing.assert_allclose(one.scale * one.b_OR @ one.a_RI, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_factors_may_be_stored_in_other_floats(tmp_path: Path, dtype: torch.dtype) -> None:
    written(tmp_path)
    tensors = {name: value.to(dtype) for name, value in load_file(tmp_path / TENSORS).items()}
    save_file(tensors, tmp_path / TENSORS)

    a = read_peft(tmp_path, "--adapter").products["first"].a_RI

    stored = tensors["base_model.model.first.lora_A.weight"].float().numpy()
    np.testing.assert_array_equal(a, stored)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication"),
        ({"a_kind_of_tomorrow": {"depth": 2}}, "a_kind_of_tomorrow"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"lora_alpha": "much"}, "much"),
        ({"alpha_pattern": {"(": 3}}, "alpha_pattern"),
    ],
)
def test_what_is_more_than_products_is_refused_by_name(
    tmp_path: Path, config: dict[str, object], named: str
) -> None:
    written(tmp_path)
    changed(tmp_path, **config)

    with pytest.raises(UserMistake, match=named) as caught:
        read_peft(tmp_path, "--adapter")
    assert str(caught.value).startswith("--adapter: ")


def test_a_tensor_that_is_no_factor_is_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    save_file(tensors | {"base_model.model.embed.lora_embedding_A": torch.ones(2, 2)}, tmp_path / TENSORS)

    with pytest.raises(UserMistake, match="lora_embedding_A"):
        read_peft(tmp_path, "--adapter")


@pytest.mark.parametrize("wrong", [torch.ones(3, 6), torch.full((2, 6), float("nan")), torch.ones(2)])
def test_factors_that_do_not_fit_or_are_not_finite_are_refused(tmp_path: Path, wrong: torch.Tensor) -> None:
    written(tmp_path)
    name = "base_model.model.first.lora_A.weight"
    save_file(load_file(tmp_path / TENSORS) | {name: wrong}, tmp_path / TENSORS)

    with pytest.raises(UserMistake, match="first"):
        read_peft(tmp_path, "--adapter")


def test_a_factor_without_its_other_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    del tensors["base_model.model.second.lora_B.weight"]
    save_file(tensors, tmp_path / TENSORS)

    with pytest.raises(UserMistake, match="second"):
        read_peft(tmp_path, "--adapter")


def test_a_folder_that_is_none_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=CONFIG):
        read_peft(tmp_path, "--adapter")
    written(tmp_path)
    (tmp_path / TENSORS).rename(tmp_path / "adapter_model.bin")
    with pytest.raises(UserMistake, match="can hold code"):
        read_peft(tmp_path, "--adapter")


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / TENSORS
    path.write_bytes(path.read_bytes()[:-8])

    with pytest.raises(UserMistake, match="cut"):
        read_peft(tmp_path, "--adapter")


def test_equal_factors_give_equal_bytes_that_read_back(tmp_path: Path) -> None:
    written(tmp_path)
    found = read_peft(tmp_path, "--adapter")
    factors = {
        f"{module}.lora_{letter}": values
        for module, one in found.products.items()
        for letter, values in (("A", one.a_RI), ("B", one.b_OR))
    }

    files = {peft_tensors(factors, b"base") for _ in range(20)}

    assert len(files) == 1
    (tmp_path / TENSORS).write_bytes(files.pop())
    again = read_peft(tmp_path, "--adapter")
    assert again.fingerprint == b"base"
    np.testing.assert_array_equal(again.products["first"].b_OR, found.products["first"].b_OR)
