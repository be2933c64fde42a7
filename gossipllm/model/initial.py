"""Where all peers start: a fresh adapter as a function of the public seed and the names of the modules.

With an A of each peer's own, averages of factors would mix unlike coordinates, and the distance between two
adapters would measure their seeds. These numbers are part of the protocol: they may not
change. No torch here.
"""

from __future__ import annotations

import math

import numpy as np

from gossipllm.model.names import A, B
from gossipllm.randomness import symmetric
from wire.floats import F32
from wire.tensors import Layout, TensorSpec


def initial_state(layout: Layout, seed: str) -> dict[str, F32]:
    """Where all peers start: A uniform within 1/sqrt(inputs) (Kaiming with a = sqrt 5), B zero."""
    return {spec.name: _initial(spec, seed) for spec in layout.tensors}


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


def _initial(spec: TensorSpec, seed: str) -> F32:
    if spec.name.endswith(B):
        return np.zeros(spec.shape, np.float32)
    bound = 1 / math.sqrt(spec.shape[1])
    draws = symmetric("gossipllm/lora_A/1", (seed, spec.name.removesuffix(A)), spec.count)
    return (draws * bound).astype(np.float32).reshape(spec.shape)
