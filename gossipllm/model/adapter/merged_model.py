"""Exporting a learner's snapshot as a whole model: the base with the adapter added to its weights.

`AutoModelForCausalLM.from_pretrained(folder)` reads the folder; it is in float32, with the tokenizer and a model card.
Every kind of adapter can be exported like this; for differences from the base it is the only form that other programs
read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.config import ModelConfig
from gossipllm.model.adapter.export import card, check_folder
from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.snapshots import Snapshot, decode_snapshot
from gossipllm.model.loading.models import Base, base_fingerprint, load_base
from trust.errors import UserMistake
from trust.files import free_space
from trust.folders import written_folder
from wire.digest import short


def export_model(
    snapshot: bytes,
    out: Path,
    *,
    peers: Sequence[str] = (),
    row: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the folder. `peers` are the neighbours learnt from, `row` the last trust row by name.

    Raises `UserMistake` where the bytes are no snapshot, the base cannot be loaded or has changed, or `out` is not
    empty and `overwrite` is not set.
    """
    state = decode_snapshot(snapshot)
    check_folder(out, overwrite=overwrite)
    base = load_base(ModelConfig(name=state.header.model_name, device="cpu", dtype="float32"))
    found = base_fingerprint(base.model)
    if found != state.header.base:
        raise UserMistake(
            f"{state.header.model_name} is not the model that was trained on: {short(found)} there, "
            f"{short(state.header.base)} in the saved state"
        )
    add(base.model, state)
    write_model(base, out, card(state, peers, row or {}, merged=True))


def write_model(base: Base, out: Path, model_card: str) -> None:
    """Write a model with its tokenizer and its card. Raises `UserMistake` where that cannot be written."""
    with written_folder(out, key="config.json") as folder:
        try:
            cast("Any", base.model).save_pretrained(folder)
        except SafetensorError as error:
            # So it reports a full disk.
            raise UserMistake(f"{out} cannot be written: {error} ({free_space(folder)})") from None
        cast("Any", base.tokenizer).save_pretrained(folder)
        (folder / "README.md").write_text(model_card, encoding="utf-8")


@torch.no_grad()
def add(model: PreTrainedModel, state: Snapshot) -> None:
    """Add an adapter to the weights of the base, in place."""
    for name, value in state.adapter.items():
        module, _, end = name.rpartition(".")
        if name.endswith(B):
            continue
        if not name.endswith(A):
            cast("torch.Tensor", getattr(model.get_submodule(module), end)).add_(torch.tensor(value))
            continue
        linear = model.get_submodule(module)
        product_OI = torch.tensor(state.adapter[module + B]) @ torch.tensor(value)
        product_OI *= state.header.alpha / state.header.rank
        added = add_product(linear, product_OI)
        assert added, "the adapter was trained on this base"


@torch.no_grad()
def add_product(linear: torch.nn.Module, product_OI: torch.Tensor) -> bool:
    """Add to a layer's weight, of outputs by inputs, in place; False where the layer has no weight of this shape."""
    weight = getattr(linear, "weight", None)
    product = product_OI.T if isinstance(linear, Conv1D) else product_OI
    if not isinstance(weight, torch.Tensor) or weight.shape != product.shape:
        return False
    weight.add_(product.to(weight))
    return True
