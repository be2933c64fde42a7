"""Tests of export: exported adapters compute the same in PEFT, and merged models in transformers alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from gossipllm.config import ModelConfig
from gossipllm.config.choices import Train
from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.merged_model import export_model
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.snapshots import Snapshot, SnapshotHeader, encode_snapshot
from gossipllm.model.loading.models import base_fingerprint, load_base
from support.adapters import AdapterOptions, adapter_config
from trust.errors import UserMistake

Folder = Callable[[str], Path]

FAMILIES = ("llama", "gpt2", "qwen2")
TOKENS = torch.arange(36).reshape(2, 18)


def learned(folder: Path, **settings: Unpack[AdapterOptions]) -> tuple[bytes, torch.Tensor]:
    """A snapshot of an adapter with random weights, and the logits of gossipllm's model with it."""
    config = adapter_config(**settings)
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    name = base_fingerprint(base.model)
    found = attach(base.model, config)
    form, rng = found.blueprint(config), np.random.default_rng(0)
    state = {spec.name: rng.normal(0, 0.1, spec.shape).astype(np.float32) for spec in form.layout.tensors}
    state |= form.frozen
    for site in found.sites.values():
        site.mount({name: torch.tensor(value)[None] for name, value in state.items()}, scale=form.scale)
    header = SnapshotHeader(
        base=name,
        tokenizer=b"",
        layout=b"",
        model_name=str(folder),
        rank=form.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        scaling=config.scaling,
        train=config.train,
        fan_in_fan_out=form.fan_in_fan_out,
        round=2,
        steps=40,
    )
    return encode_snapshot(Snapshot(header, state, {}, {}, {})), logits(base.model)


def loaded(folder: Path) -> Any:
    """By transformers alone."""
    return cast("Any", AutoModelForCausalLM).from_pretrained(folder)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS, use_cache=False).logits


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        *((family, {}) for family in FAMILIES),
        *((family, {"train": "heads"}) for family in FAMILIES),
        ("llama", {"train": "b"}),
        ("llama", {"alpha": 32.0, "dropout": 0.1}),
        ("llama", {"scaling": "rslora"}),
        ("gpt2", {"scaling": "rslora", "rank": 3}),
        ("llama", {"modules": ("o_proj", "mlp.up_proj")}),
        ("gpt2", {"modules": ("attn.c_proj",)}),
    ],
)
def test_peft_loads_it_and_computes_the_same(
    model_folder: Folder, family: str, settings: AdapterOptions, tmp_path: Path
) -> None:
    snapshot, want = learned(model_folder(family), **settings)

    export_adapter(snapshot, tmp_path / "out", peers=["ada", "bob"], row={"self": 0.75, "ada": 0.25})

    base = loaded(model_folder(family))
    plain = logits(base)
    model: Any = cast("Any", PeftModel).from_pretrained(base, str(tmp_path / "out"))
    torch.testing.assert_close(logits(model), want, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(plain, want, atol=1e-3), "an adapter that does nothing would pass, too"
    assert model.peft_config["default"].lora_dropout == settings.get("dropout", 0.0)
    adapted = sum("lora_A" in name and name.endswith("weight") for name, _ in model.named_parameters())
    assert f"on {adapted} linear layers" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_says_where_it_comes_from(model_folder: Folder, tmp_path: Path) -> None:
    snapshot, _ = learned(model_folder("llama"))

    export_adapter(snapshot, tmp_path, peers=["ada", "bob"], row={"self": 0.75, "ada": 0.25})

    card = (tmp_path / "README.md").read_text()
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32"))
    assert "ada, bob" in card
    assert "| self | 0.750 |" in card
    assert "rounds: 3, local optimiser steps: 40" in card
    assert base_fingerprint(base.model).hex() in card


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("train", ["both", "heads", "full", "all"])
def test_transformers_alone_loads_the_whole_model_and_computes_the_same(
    model_folder: Folder, family: str, train: Train, tmp_path: Path
) -> None:
    snapshot, want = learned(model_folder(family), train=train)

    export_model(snapshot, tmp_path / "out", peers=["ada"])

    model = loaded(tmp_path / "out")
    torch.testing.assert_close(logits(model), want, atol=1e-5, rtol=1e-4)
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    assert "gossipllm" not in (tmp_path / "out" / "config.json").read_text(), (
        "no attention of ours is asked for"
    )
    assert "ada" in (tmp_path / "out" / "README.md").read_text()


def test_biases_leave_in_a_whole_model_too(model_folder: Folder, tmp_path: Path) -> None:
    snapshot, want = learned(model_folder("gpt2"), train="bias")

    export_model(snapshot, tmp_path)

    torch.testing.assert_close(logits(loaded(tmp_path)), want, atol=1e-5, rtol=1e-4)


def test_differences_have_no_form_in_peft_and_the_user_is_told_what_has(
    model_folder: Folder, tmp_path: Path
) -> None:
    snapshot, _ = learned(model_folder("llama"), train="full")

    with pytest.raises(UserMistake, match="--merged"):
        export_adapter(snapshot, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_another_base_than_was_trained_on_is_not_merged_into(model_folder: Folder, tmp_path: Path) -> None:
    snapshot, _ = learned(model_folder("llama"))
    other = snapshot.replace(str(model_folder("llama")).encode(), str(model_folder("qwen2")).encode())
    assert len(str(model_folder("llama"))) == len(str(model_folder("qwen2")))

    with pytest.raises(UserMistake, match="not the model that was trained on"):
        export_model(other, tmp_path)


@pytest.mark.parametrize("write", [export_adapter, export_model])
def test_a_folder_that_holds_something_is_not_overwritten_unasked(
    model_folder: Folder, tmp_path: Path, write: Callable[..., None]
) -> None:
    snapshot, _ = learned(model_folder("llama"))
    (tmp_path / "precious").write_text("x")

    with pytest.raises(UserMistake, match="not empty"):
        write(snapshot, tmp_path)
    write(snapshot, tmp_path, overwrite=True)

    assert (tmp_path / "precious").read_text() == "x"
    assert any(tmp_path.glob("*.safetensors"))


def test_a_peers_name_cannot_write_into_the_card(model_folder: Folder, tmp_path: Path) -> None:
    snapshot, _ = learned(model_folder("llama"))

    export_adapter(snapshot, tmp_path / "out", peers=["](http://evil)\n# ha"])

    card = (tmp_path / "out" / "README.md").read_text()
    assert "http://" not in card
    assert "\n# ha" not in card


@pytest.mark.parametrize("write", [export_adapter, export_model])
def test_an_export_names_no_folder_of_this_device_and_has_the_tokenizer(
    model_folder: Folder, tmp_path: Path, write: Callable[[bytes, Path], None]
) -> None:
    snapshot, _ = learned(model_folder("llama"))

    write(snapshot, tmp_path / "out")

    texts = [path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix in (".md", ".json")]
    assert not [text for text in texts if str(model_folder("llama")).encode() in text]
    assert not [text for text in texts if str(tmp_path).encode() in text]
    original = (model_folder("llama") / "tokenizer.json").read_text()
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text()) == json.loads(original)
    assert "- rounds: 3, local" in (tmp_path / "out" / "README.md").read_text()
