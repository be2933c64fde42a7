"""Adding a task vector to the weights of its base, as a whole model that transformers opens alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from gossipllm.config import ModelConfig
from gossipllm.model.adapter.export import check_folder, hub_name
from gossipllm.model.adapter.merged_model import add_product, write_model
from gossipllm.model.loading.models import base_fingerprint, load_base
from gossipllm.vectors.vector import TaskVector, shape_of
from trust.errors import UserMistake
from wire.digest import short


@torch.no_grad()
def apply(vector: TaskVector, base: str, weight: float, out: Path, *, overwrite: bool) -> None:
    """Write the base with `weight` times the vector added, in float32, with its tokenizer.

    `base` is a name or a folder. Raises `UserMistake` where it cannot be loaded or is not the vector's, or `out` is not
    empty and `overwrite` is not set.
    """
    check_folder(out, overwrite=overwrite)
    loaded = load_base(ModelConfig(name=base, device="cpu", dtype="float32"))
    if vector.fingerprint and (found := base_fingerprint(loaded.model)) != vector.fingerprint:
        raise UserMistake(
            f"--base: {base} is not the base of {vector.name}: its weights have the fingerprint {short(found)}, "
            f"the vector is of {short(vector.fingerprint)}"
        )
    linears: dict[str, torch.nn.Module] = dict(cast("Any", loaded.model).named_modules())
    for module, one in vector.products.items():
        linear = linears.get(module)
        if linear is None:
            raise UserMistake(f"--base: {base} has no {module}, which {vector.name} adapts")
        product_OI = torch.tensor(one.b_OR) @ torch.tensor(one.a_RI) * (weight * one.scale)
        if not add_product(linear, product_OI):
            outputs, inputs = shape_of(one)
            raise UserMistake(
                f"--base: {module} of {base} has no {outputs} x {inputs} weights, as {vector.name} has"
            )
    write_model(loaded, out, _card(vector, base, weight))


def _card(vector: TaskVector, base: str, weight: float) -> str:
    known = hub_name(base)
    lines = [
        "---",
        "library_name: transformers",
        *([f"base_model: {known}"] if known else []),
        "tags: [task-vector, gossipllm]",
        "---",
        "",
        "# Model with a task vector added",
        "",
        f"- {weight:g} times {vector.name}, on {len(vector.products)} linear layers",
        "",
    ]
    return "\n".join(lines)
