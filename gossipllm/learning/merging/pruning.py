"""Self-pruning of ranks: an adapter whose last ranks lost weight in a round's local steps goes on without them.

As in HetLoRA (Cho et al., arXiv 2401.06432). Of an adapter of rank r, the tail are the ranks from k = floor(gamma r)
on, gamma being `AdapterConfig.prune`, and its weight is

    sum over modules of ||B[:, k:]||_F ||A[k:, :]||_F.

Where that is smaller after the steps than before them, k is the adapter's rank from then on, 1 at the least. Which
ranks are the last is the same for all peers, whose A start alike and are merged rank by rank (rule "pad").

The paper also adds this weight to the loss. We leave that out: it has no gradient where B is zero, as in a
fresh adapter, and AdamW would not keep to the coefficient. What makes a tail shrink here is training itself, weight
decay, and merges that brought in others' larger tails.
"""

from __future__ import annotations

import math

import numpy as np

from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B, State
from wire.floats import F32


def kept_rank(before: State, after: State, form: Blueprint) -> int:
    """The adapter's rank after steps from `before` to `after`; that of `form` where nothing is pruned."""
    kept = max(1, math.floor(form.config.prune * form.rank))
    return kept if _tail_weight(after, kept) < _tail_weight(before, kept) else form.rank


def without_tail(state: State, kept: int) -> State:
    """`state` with zeros in B from rank `kept` on: the whole adapter's shapes, the cut adapter's effect."""
    return {name: _blanked(value, kept) if name.endswith(B) else value for name, value in state.items()}


def cut(tensors: State, rank: int, factor: float) -> dict[str, F32]:
    """The first `rank` ranks of each tensor; those of B are multiplied by `factor`."""
    return {
        name: value[:rank].copy() if name.endswith(A) else np.float32(factor) * value[:, :rank]
        for name, value in tensors.items()
    }


def _tail_weight(state: State, kept: int) -> float:
    """In float64: squares of finite float32 numbers need not be finite in float32."""
    pairs = [(value, state[name.removesuffix(A) + B]) for name, value in state.items() if name.endswith(A)]
    return sum(_norm(a_RI[kept:]) * _norm(b_OR[:, kept:]) for a_RI, b_OR in pairs)


def _norm(values: F32) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).sum()))


def _blanked(b_OR: F32, kept: int) -> F32:
    if kept >= b_OR.shape[1]:
        return b_OR
    blanked_OR = b_OR.copy()
    blanked_OR[:, kept:] = 0
    return blanked_OR
