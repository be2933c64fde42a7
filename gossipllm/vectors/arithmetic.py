"""Arithmetic on task vectors, in the space of the products that they add, not of their factors.

    sum        scale * sum_v w_v D_v,    D_v = s_v B_v A_v              (task arithmetic, arXiv 2212.04089)
    ties       of each D_v its largest entries; the sign that has more weight in each place; the weighted mean of the
               entries that have this sign, times scale                (arXiv 2306.01708)
    dare       each entry of D_v dropped with the chance 1 - density, the others over density; then as sum
               (arXiv 2311.03099)
    dare-ties  dropped as in dare, then signs and means as in ties

A negative weight subtracts: one vector times -1 forgets, and `b - a + c` is an analogy. A sum needs no product to be
formed. The other methods look at single entries, so each module is formed in full, one after the other, as large as the
weight itself. The result comes back as two factors of a given rank, with the error of what the rank cuts off.

Largest entries are those of a module (the published code of TIES takes those of the whole vector), and ties with a
weight per vector is our extension; equal weights are the published form.

Axes: V vectors, O outputs, I inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
from scipy.sparse.linalg import svds  # pyright: ignore[reportUnknownVariableType] - typed in part

from gossipllm.learning.merging.averages import F64
from gossipllm.learning.merging.products.products import MergeError, Pair, Products, resized
from gossipllm.model.adapter.peft_folder import Product
from gossipllm.vectors.vector import TaskVector
from wire.floats import F32

Method: TypeAlias = Literal["sum", "ties", "dare", "dare-ties"]

_DENSE_SIDE: Final = 512
"""Up to this length of the shorter side all singular values are computed, beyond it those that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """How vectors become one. `density` is the share of entries that ties and dare keep, `seed` that of dare."""

    method: Method = "sum"
    density: float = 0.2
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be above 0 and at most 1, got {self.density}")
        if not np.isfinite(self.scale):
            raise ValueError(f"scale must be finite, got {self.scale}")


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """`error` is what `products`, all of one rank, lack of the exact result."""

    products: Mapping[str, Product]
    rank: int
    error: MergeError


def combined(
    vectors: Sequence[TaskVector], weights_V: Sequence[float], how: Combination, rank: int | None = None
) -> Combined:
    """The vectors times their weights, brought together.

    `rank` is that of the result: by default the largest of the vectors, 0 for as much as an exact sum needs. A module
    that a vector does not adapt counts as zeros there.
    """
    modules = sorted({module for one in vectors for module in one.products})
    if rank is None:
        rank = max(one.rank for one in vectors)
    elif rank == 0:
        rank = max(_summed_rank(vectors, module) for module in modules)
    rngs = [np.random.default_rng((how.seed, number)) for number in range(len(vectors))]
    products: dict[str, Product] = {}
    error = MergeError()
    for module in modules:
        terms = [
            (one.products[module], weight, rng)
            for one, weight, rng in zip(vectors, weights_V, rngs, strict=True)
            if module in one.products
        ]
        if how.method == "sum":
            (a_RI, b_OR), missed = _sum([(each, weight) for each, weight, _ in terms], rank)
        else:
            (a_RI, b_OR), missed = _factors(_by_entries(terms, how), rank)
        products[module] = Product(a_RI, (how.scale * b_OR).astype(np.float32), 1.0)
        error += missed
    return Combined(products, rank, error)


def inner_products(vectors: Sequence[TaskVector]) -> F64:
    """The inner products of vectors, (V, V), without forming a product: <B A, C D> = sum((B' C) * (A D'))."""
    count = len(vectors)
    inner_VV = np.zeros((count, count))
    for one in range(count):
        for other in range(one, count):
            shared = vectors[one].products.keys() & vectors[other].products.keys()
            pairs = ((vectors[one].products[each], vectors[other].products[each]) for each in sorted(shared))
            inner_VV[one, other] = inner_VV[other, one] = sum(_inner(*pair) for pair in pairs)
    return inner_VV


def cosines(inner_VV: F64) -> F64:
    """Cosines from inner products; 0 beside a vector that is zero."""
    norms_V = np.sqrt(np.diag(inner_VV))
    outer_VV = np.outer(norms_V, norms_V)
    return np.divide(inner_VV, outer_VV, out=np.zeros_like(inner_VV), where=outer_VV > 0)


def _inner(one: Product, other: Product) -> float:
    b_RS = one.b_OR.T.astype(np.float64) @ other.b_OR
    a_RS = one.a_RI.astype(np.float64) @ other.a_RI.T
    return one.scale * other.scale * float((b_RS * a_RS).sum())


def _summed_rank(vectors: Sequence[TaskVector], module: str) -> int:
    held = [one.products[module] for one in vectors if module in one.products]
    return min(sum(one.rank for one in held), held[0].b_OR.shape[0], held[0].a_RI.shape[1])


def _sum(terms: Sequence[tuple[Product, float]], rank: int) -> tuple[Pair, MergeError]:
    """The weighted sum of one module. Its A lies as near as it can to the first rows of the A that go in."""
    stacked_SI = np.concatenate([one.a_RI for one, _ in terms]).astype(np.float64)
    start: Pair = (
        resized(stacked_SI, 0, rank).astype(np.float32),
        np.zeros((terms[0][0].b_OR.shape[0], rank), np.float32),
    )
    pairs = [start, *((one.a_RI, one.b_OR) for one, _ in terms)]
    products = Products([pairs], [1.0, *(one.scale for one, _ in terms)])
    results, error = products.svd(np.array([[0.0, *(weight for _, weight in terms)]]))
    return _padded(results[0], rank), error


def _by_entries(terms: Sequence[tuple[Product, float, np.random.Generator]], how: Combination) -> F64:
    dense_VOI = np.stack(
        [one.scale * one.b_OR.astype(np.float64) @ one.a_RI.astype(np.float64) for one, _, _ in terms]
    )
    weights_V11 = np.array([weight for _, weight, _ in terms]).reshape(-1, 1, 1)
    if how.method == "ties":
        kept_VOI = np.stack([_largest(each, how.density) for each in dense_VOI])
    else:
        drawn_VOI = np.stack([rng.random(dense_VOI.shape[1:]) < how.density for _, _, rng in terms])
        kept_VOI = drawn_VOI * dense_VOI / how.density
    if how.method == "dare":
        return cast("F64", (weights_V11 * kept_VOI).sum(axis=0))
    weighted_VOI = weights_V11 * kept_VOI
    sign_OI = np.sign(weighted_VOI.sum(axis=0))
    agrees_VOI = (np.sign(weighted_VOI) == sign_OI) & (sign_OI != 0)
    total_OI: F64 = (agrees_VOI * np.abs(weights_V11)).sum(axis=0)
    summed_OI: F64 = (weighted_VOI * agrees_VOI).sum(axis=0)
    return np.divide(summed_OI, total_OI, out=np.zeros_like(summed_OI), where=total_OI > 0)


def _largest(values_OI: F64, density: float) -> F64:
    """The values with all but the largest in magnitude set to 0."""
    kept = max(1, round(density * values_OI.size))
    if kept == values_OI.size:
        return values_OI
    magnitude = np.abs(values_OI)
    least = np.partition(magnitude, values_OI.size - kept, axis=None)[values_OI.size - kept]
    return np.where(magnitude >= least, values_OI, 0.0)


def _factors(values_OI: F64, rank: int) -> tuple[Pair, MergeError]:
    """The best approximation of a matrix by two factors, each with the roots of the singular values."""
    whole = float((values_OI**2).sum())
    shorter = min(values_OI.shape)
    if shorter <= _DENSE_SIDE or rank >= shorter // 2:
        u, sigma, vt = np.linalg.svd(values_OI, full_matrices=False)
        u, sigma, vt = u[:, :rank], sigma[:rank], vt[:rank]
    else:
        # ARPACK from a fixed start, so that equal vectors give equal bytes.
        u, sigma, vt = cast("Any", svds)(values_OI, k=rank, v0=np.ones(shorter))
    root = np.sqrt(sigma)
    pair = (root[:, None] * vt).astype(np.float32), (u * root).astype(np.float32)
    return _padded(pair, rank), MergeError(max(0.0, whole - float((sigma**2).sum())), whole)


def _padded(pair: Pair, rank: int) -> Pair:
    """Factors with zeros up to this rank, because a small module may have fewer dimensions."""
    a_RI, b_OR = pair
    a: F32 = resized(a_RI.astype(np.float64), 0, rank).astype(np.float32)
    b: F32 = resized(b_OR.astype(np.float64), 1, rank).astype(np.float32)
    return a, b
