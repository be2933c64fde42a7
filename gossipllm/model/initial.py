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


def _initial(spec: TensorSpec, seed: str) -> F32:
    if spec.name.endswith(B):
        return np.zeros(spec.shape, np.float32)
    bound = 1 / math.sqrt(spec.shape[1])
    draws = symmetric("gossipllm/lora_A/1", (seed, spec.name.removesuffix(A)), spec.count)
    return (draws * bound).astype(np.float32).reshape(spec.shape)
