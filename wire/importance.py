"""Encodes and decodes layer importances: how much an announcement's author's loss depends on each layer.

A float32 for each layer, little-endian: finite and not negative, or -1 for a layer whose importance the author does
not know. Empty where the author does not choose layers by importance and knows none. The numbers are claims, on a
scale that each author chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from wire.errors import WireError

MAX_LAYERS: Final = 256
"""Most layers of a model whose importances can be announced."""

_UNKNOWN: Final = -1.0
_LARGEST: Final = float(np.finfo(np.float32).max)
_WIDTH: Final = 4


def encode_importance(importance: Sequence[float | None]) -> bytes:
    """Four bytes for each layer; None in `importance` is a layer that is not known.

    Raises `ValueError` for more than `MAX_LAYERS`, and where a number is negative or beyond float32.
    """
    if len(importance) > MAX_LAYERS:
        raise ValueError(f"importance must be of at most {MAX_LAYERS} layers, got {len(importance)}")
    for layer, value in enumerate(importance):
        if value is not None and not 0 <= value <= _LARGEST:
            raise ValueError(f"importance of layer {layer} must be in 0..{_LARGEST:g}, got {value}")
    return np.array([_UNKNOWN if value is None else value for value in importance], "<f4").tobytes()


def decode_importance(data: bytes, layers: int) -> tuple[float | None, ...]:
    """An importance for each of `layers` layers, None where it is not known. Raises `WireError` and nothing else."""
    if not data:
        return (None,) * layers
    if len(data) != _WIDTH * layers:
        raise WireError("announcement.importance", f"{len(data)} bytes for {layers} layers")
    values_L = np.frombuffer(data, "<f4")
    # An exact comparison: -1 is a float32, and any other negative number is refused below.
    known_L = values_L != _UNKNOWN
    if not (np.isfinite(values_L) & ((values_L >= 0) | ~known_L)).all():
        raise WireError("announcement.importance", "a number is negative or not finite")
    return tuple(float(value) if known else None for value, known in zip(values_L, known_L, strict=True))
