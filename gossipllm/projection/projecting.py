"""A small model's task vector as one of a large model.

With x_large P close to x_small and y_small Q close to y_large, what an adapter of the small model adds to a layer,
scale * B A, becomes scale * (Q' B) (A P') in the layers that stand for it: a product of the same rank.

Both models are in one process. The other way would be that the small model's peer sends statistics; but X'Y takes the
hidden states of both models at one place, and those of a block, some 16 d numbers a position, take more bytes than the
12 d^2 weights of the block itself once there are about d positions. A map needs many more than that.

Several small models' vectors T_i come together as U = sum_i alpha_i T_i / sum_i alpha_i, of the sum of their ranks or
less, and the large model becomes W + step U. The step is eta; with LARS, a layer's step is

    eta * kappa * |W| / (|U| + beta * |W|)            (You et al., arXiv 1708.03888, as Jajoo 2024 uses it)

so that no layer moves by more than a given share of its own norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.peft_folder import Product
from gossipllm.model.blocks import blocks_name, blocks_of, linears_of
from gossipllm.model.loading.models import Base, base_fingerprint
from gossipllm.projection.maps import Maps, random_maps, ridge_maps, svd_maps
from gossipllm.projection.matching import Matching, Model, matched
from gossipllm.projection.statistics import OnProgress, Window, pair_sums
from gossipllm.projection.ways import Way
from gossipllm.vectors.arithmetic import Combination, Combined, combined
from gossipllm.vectors.vector import TaskVector, shape_of
from trust.errors import UserMistake
from wire.digest import short

BUDGET_MB: Final = 1_024
"""Memory for the sums of a group of layers."""


@dataclass(frozen=True, slots=True)
class Lars:
    """A layer's step as a share `kappa` of its norm; `beta` keeps the step below that where the update is small."""

    kappa: float = 1e-3
    beta: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Projected:
    """`explained`: the share of the variance of held-out inputs and outputs that the maps explain, by layer of the
    large model; empty where no text was used."""

    vector: TaskVector
    matching: Matching
    explained: Mapping[str, tuple[float, float]]


def check_base(vector: TaskVector, base: Base, name: str) -> None:
    """Raises `UserMistake` where the vector belongs to other weights, or its shapes are not those of this base."""
    if vector.fingerprint and (found := base_fingerprint(base.model)) != vector.fingerprint:
        raise UserMistake(
            f"{name} is not the base of {vector.name}: its weights have the fingerprint {short(found)}, the vector is "
            f"of {short(vector.fingerprint)}"
        )
    linears = linears_of(base.model)
    for module, one in vector.products.items():
        linear = linears.get(module)
        if linear is None or tuple(weight_of(linear).shape) != shape_of(one):
            outputs, inputs = shape_of(one)
            raise UserMistake(
                f"{name} has no {module} of {outputs} x {inputs} weights, which {vector.name} adapts"
            )


def model_of(base: Base, name: str) -> Model:
    """What matching needs. Raises `UserMistake` where the model has no list of blocks."""
    try:
        blocks, depth = blocks_name(base.model), len(blocks_of(base.model))
    except ValueError as error:
        raise UserMistake(f"{name}: {error}") from None
    return Model(name, blocks, depth, frozenset(linears_of(base.model)))


def projected(
    vectors: Sequence[TaskVector],
    small: Base,
    large: Base,
    names: tuple[str, str],
    *,
    way: Way,
    windows: Sequence[Window],
    seed: int = 0,
    budget_mb: int = BUDGET_MB,
    on_progress: OnProgress = lambda _done, _of: None,
) -> list[Projected]:
    """Vectors of one small base, each as a vector of the large base.

    `names` are those of the small and of the large model; `windows` are text for `ridge`. Raises `UserMistake` where
    the small model is deeper or has another kind of blocks.
    """
    adapted = {module for vector in vectors for module in vector.products}
    matching = matched(model_of(small, names[0]), adapted, model_of(large, names[1]))
    fingerprint = base_fingerprint(large.model)
    products: list[dict[str, Product]] = [{} for _ in vectors]
    explained: dict[str, tuple[float, float]] = {}

    def take(module: str, maps: Maps) -> None:
        if maps.explained is not None:
            explained[module] = maps.explained
        for held, vector in zip(products, vectors, strict=True):
            one = vector.products.get(matching.pairs[module])
            if one is not None:
                held[module] = _mapped(one, maps)

    if way == "ridge":
        sums = pair_sums(small, large, matching.pairs, windows, budget_mb=budget_mb, on_progress=on_progress)
        for module, one in sums:
            take(module, ridge_maps(one))
    else:
        of_small, of_large = linears_of(small.model), linears_of(large.model)
        for number, (module, other) in enumerate(matching.pairs.items()):
            weights = weight_of(of_small[other]), weight_of(of_large[module])
            take(module, svd_maps(*weights) if way == "svd" else random_maps(*weights, seed + number))
            on_progress(number + 1, len(matching.pairs))
    turned = any(isinstance(one, Conv1D) for one in linears_of(large.model).values())
    return [
        Projected(
            TaskVector(vector.name, names[1], fingerprint, turned, held),
            Matching(matching.pairs, tuple(one for one in matching.left if one in vector.products)),
            explained,
        )
        for vector, held in zip(vectors, products, strict=True)
    ]


def stepped(
    vectors: Sequence[TaskVector],
    alphas_V: Sequence[float],
    large: Base,
    *,
    eta: float,
    lars: Lars | None,
    rank: int,
) -> Combined:
    """The step of the large model that its neighbours' vectors make together; `rank` 0 for as much as it needs.
    Products have the scale 1."""
    total = sum(alphas_V)
    mean = combined(vectors, [one / total for one in alphas_V], Combination(), rank)
    linears = linears_of(large.model)
    products = {
        module: Product(one.a_RI, np.float32(eta * _share(one, linears[module], lars)) * one.b_OR, 1.0)
        for module, one in mean.products.items()
    }
    return Combined(products, mean.rank, mean.error)


def weight_of(linear: torch.nn.Module) -> torch.Tensor:
    """The weight of a linear layer, (outputs, inputs)."""
    weight = cast("torch.Tensor", cast("Any", linear).weight)
    return weight.T if isinstance(linear, Conv1D) else weight


def _share(product: Product, linear: torch.nn.Module, lars: Lars | None) -> float:
    if lars is None:
        return 1.0
    norm = float(weight_of(linear).double().square().sum().sqrt())
    # |B A| from the small Gram matrices.
    b_RR, a_RR = (one.T @ one for one in (product.b_OR.astype(np.float64), product.a_RI.T.astype(np.float64)))
    update = float(np.sqrt(max(0.0, (b_RR * a_RR).sum())))
    return lars.kappa * norm / (update + lars.beta * norm) if update else 0.0


def _mapped(one: Product, maps: Maps) -> Product:
    a_RI = torch.tensor(one.a_RI, dtype=torch.float64) @ maps.inputs_XY.T
    b_OR = maps.outputs_XY.T @ torch.tensor(one.b_OR, dtype=torch.float64)
    return Product(a_RI.float().numpy(), b_OR.float().numpy(), one.scale)
