"""The pieces of an adapter as the low-rank products that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B
from trust.rows.evidence import Factors
from wire.floats import F32


def factors_of(
    blueprint: Blueprint, pieces: Mapping[str, F32], units: Sequence[int], rank: int
) -> dict[str, Factors]:
    """Each piece as the product that it stands for: with its other factor, which may be frozen."""
    factors: dict[str, Factors] = {}
    frozen = blueprint.frozen_at(rank)
    for cut in blueprint.cuts(units):
        module, piece = blueprint.anatomy.by_name[cut.tensor].module, pieces[cut.piece]
        if not cut.tensor.endswith((A, B)):
            # A difference from the base is no product: one row, beside a factor of 1.
            factors[cut.piece] = Factors(piece.reshape(1, -1), np.ones((1, 1), np.float32))
        elif cut.tensor.endswith(B):
            a_RI = frozen[module + A] if module + A in frozen else pieces[module + A]
            factors[cut.piece] = Factors(a_RI, piece)
        elif module + B in frozen:
            factors[cut.piece] = Factors(piece, frozen[module + B])
    return factors
