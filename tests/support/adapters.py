"""Settings of small adapters, as keyword arguments that the type checker knows."""

from __future__ import annotations

from typing import TypedDict, Unpack

from gossipllm.config import AdapterConfig
from gossipllm.config.choices import Scaling, Start, Train


class AdapterOptions(TypedDict, total=False):
    """The settings of an `AdapterConfig`."""

    rank: int
    most_rank: int
    prune: float
    modules: tuple[str, ...]
    alpha: float
    scaling: Scaling
    dropout: float
    seed: str
    start: Start
    train: Train


def adapter_config(**options: Unpack[AdapterOptions]) -> AdapterConfig:
    """Of rank 4 and a scale of 2, unless these settings say otherwise."""
    given: AdapterOptions = {"rank": 4, "alpha": 8.0, **options}
    return AdapterConfig(**given)
