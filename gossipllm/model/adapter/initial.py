"""The initial adapter of all peers, a function of the public seed and the names of the modules.

If each peer drew its own A, averages of factors would mix different coordinates, and the distance between two adapters
would measure their seeds. These numbers are part of the protocol and must never change. Draws do not depend on the
rank: the A of a smaller rank is the first rows of the A of a larger rank, so that peers of different ranks start in the
same subspace. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from gossipllm.model.adapter.names import A, B
from gossipllm.randomness import symmetric
from wire.floats import F32
from wire.updates.tensors import Layout, TensorSpec


def initial_state(layout: Layout, seed: str, *, mirrored: Collection[str] = ()) -> dict[str, F32]:
    """The initial adapter: A uniform within 1/sqrt(inputs) (Kaiming with a = sqrt 5), B zero.

    In the modules that are `mirrored`, A is zero and B uniform within 1/sqrt(outputs): there B projects gradients as A
    otherwise projects inputs. Differences from the base are zero.
    """
    return {spec.name: _initial(spec, seed, mirrored) for spec in layout.tensors}


def own_start(layout: Layout, seed: int) -> dict[str, F32]:
    """An initial adapter that is drawn for one peer, for reproduction: A uniform within 1/sqrt(rank), B zero.

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
    """Draws for one rank after the other: the rows of an A, the columns of a B."""
    rank, width = reversed(spec.shape) if by_columns else spec.shape
    draws = symmetric(label, parts, spec.count) * (1 / math.sqrt(width))
    drawn_RN = draws.astype(np.float32).reshape(rank, width)
    return np.ascontiguousarray(drawn_RN.T) if by_columns else drawn_RN
