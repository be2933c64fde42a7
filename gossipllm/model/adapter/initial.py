"""Where all peers start: a fresh adapter as a function of the public seed and the names of the modules.

With an A of each peer's own, averages of factors would mix unlike coordinates, and the distance between two
adapters would measure their seeds. These numbers are part of the protocol: they may not
change. A draw does not depend on the rank, so that of two ranks the smaller one's A is the first rows of the larger
one's: peers of unequal ranks start in one subspace. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from gossipllm.model.adapter.names import A, B
from gossipllm.randomness import symmetric
from wire.floats import F32
from wire.tensors import Layout, TensorSpec


def initial_state(layout: Layout, seed: str, *, mirrored: Collection[str] = ()) -> dict[str, F32]:
    """Where all peers start: A uniform within 1/sqrt(inputs) (Kaiming with a = sqrt 5), B zero.

    Of the modules that are `mirrored`, A is zero and B uniform within 1/sqrt(outputs): it does to gradients what A
    otherwise does to inputs. What is no factor, a difference from the base, is zero.
    """
    return {spec.name: _initial(spec, seed, mirrored) for spec in layout.tensors}


def own_start(layout: Layout, seed: int) -> dict[str, F32]:
    """A start of a peer's own, for reproduction: A uniform within 1/sqrt(rank) whatever the width, B zero.

    The released code of Wagner et al. (2024) draws so: its A is stored transposed, and Kaiming's bound is taken
    of the wrong axis.
    """
    state: dict[str, F32] = {}
    for spec in layout.tensors:
        state[spec.name] = np.zeros(spec.shape, np.float32)
        if spec.name.endswith(A):
            draws = symmetric("gossipllm/lora_A/own/1", (seed, spec.name.removesuffix(A)), spec.count)
            state[spec.name] = (draws / math.sqrt(spec.shape[0])).astype(np.float32).reshape(spec.shape)
    return state


def _initial(spec: TensorSpec, seed: str, mirrored: Collection[str]) -> F32:
    for factor, label in ((A, "gossipllm/lora_A/1"), (B, "gossipllm/lora_B/1")):
        module = spec.name.removesuffix(factor)
        if module != spec.name and (module in mirrored) == (factor == B):
            return _drawn(spec, label, (seed, module), by_columns=factor == B)
    return np.zeros(spec.shape, np.float32)


def _drawn(spec: TensorSpec, label: str, parts: tuple[str, ...], *, by_columns: bool) -> F32:
    """Rank by rank: the rows of an A, the columns of a B."""
    rank, width = reversed(spec.shape) if by_columns else spec.shape
    draws = symmetric(label, parts, spec.count) * (1 / math.sqrt(width))
    drawn_RN = draws.astype(np.float32).reshape(rank, width)
    return np.ascontiguousarray(drawn_RN.T) if by_columns else drawn_RN
