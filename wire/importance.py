"""How much an author's loss depends on each layer of the model, as it stands in an announcement.

A float32 for each layer, little-endian: finite and not negative, or -1 for a layer that the author knows nothing of.
Empty where layers are not chosen by importance: that author knows of none. The numbers are claims, and of the
author's own scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from wire.errors import WireError

MAX_LAYERS: Final = 256
"""Layers of the deepest model whose importances are announced."""

_UNKNOWN: Final = -1.0
_LARGEST: Final = float(np.finfo(np.float32).max)
_WIDTH: Final = 4


def encode_importance(importance: Sequence[float | None]) -> bytes:
    """Four bytes for each layer, None for one that is not known.

    Raises `ValueError` for more than `MAX_LAYERS`, and where a number is negative or beyond float32.
    """
    if len(importance) > MAX_LAYERS:
        raise ValueError(f"importance must be of at most {MAX_LAYERS} layers, got {len(importance)}")
    for layer, value in enumerate(importance):
        if value is not None and not 0 <= value <= _LARGEST:
            raise ValueError(f"importance of layer {layer} must be in 0..{_LARGEST:g}, got {value}")
    return np.array([_UNKNOWN if value is None else value for value in importance], "<f4").tobytes()


def decode_importance(data: bytes, layers: int) -> tuple[float | None, ...]:
    """One number for each of `layers` layers, None where the author knows none. Raises `WireError` and nothing else."""
    if not data:
        return (None,) * layers
    if len(data) != _WIDTH * layers:
        raise WireError("announcement.importance", f"{len(data)} bytes for {layers} layers")
    values_L = np.frombuffer(data, "<f4")
    known_L = values_L != _UNKNOWN
    if not (np.isfinite(values_L) & ((values_L >= 0) | ~known_L)).all():
        raise WireError("announcement.importance", "a number is negative or not finite")
    return tuple(float(value) if known else None for value, known in zip(values_L, known_L, strict=True))
