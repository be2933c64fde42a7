"""The pieces of an adapter as the low-rank products that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gossipllm.model.adapter.anatomy import Cut
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B
from trust.rows.evidence import Factors
from wire.floats import F32, bf16_bits, bf16_values


def factors_of(
    blueprint: Blueprint, pieces: Mapping[str, F32], units: Sequence[int], rank: int
) -> dict[str, Factors]:
    """Each piece as the product that it stands for: with its other factor, which may be frozen.

    A factor whose other one is neither frozen nor in its unit stands for no product. What counts of it is its
    difference from the public start, which is what training made of it.
    """
    factors: dict[str, Factors] = {}
    frozen = blueprint.frozen_at(rank)
    for unit in units:
        cuts = blueprint.anatomy.cuts[unit]
        within = {cut.tensor for cut in cuts}
        for cut in cuts:
            module, piece = blueprint.anatomy.by_name[cut.tensor].module, pieces[cut.piece]
            if not cut.tensor.endswith((A, B)):
                factors[cut.piece] = _row(piece)
                continue
            other = module + (A if cut.tensor.endswith(B) else B)
            if other in within:
                # Both factors make one product, which stands under the name of B.
                if cut.tensor.endswith(B):
                    factors[cut.piece] = Factors(pieces[other], piece)
            elif other not in frozen:
                factors[cut.piece] = _row(_as_sent(piece) - _as_sent(_started(blueprint, cut)))
            elif cut.tensor.endswith(B):
                factors[cut.piece] = Factors(frozen[other], piece)
            else:
                factors[cut.piece] = Factors(piece, frozen[other])
    return factors


def _row(piece: F32) -> Factors:
    """A difference is no product: one row, beside a factor of 1."""
    return Factors(piece.reshape(1, -1), np.ones((1, 1), np.float32))


def _as_sent(values: F32) -> F32:
    """Rounded as an update is, so that what is no different from the start is zero wherever it comes from."""
    return bf16_values(bf16_bits(values))


def _started(blueprint: Blueprint, cut: Cut) -> F32:
    """The piece of the public start. Single factors have this peer's rank (`updates.UpdateFormat.decoded`)."""
    return cut.of(blueprint.shared[cut.tensor])
