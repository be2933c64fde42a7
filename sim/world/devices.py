"""Differences between the devices of a scenario: lists that are cycled over the peers.

    [devices]
    models = ["embedded", "embedded-small"]  base models, as [model] name
    ranks = [2, 16]                          peer 0 has rank 2, peer 1 rank 16, peer 2 rank 2, ...
    modules = ["q_proj v_proj", ""]          sets of modules, as [adapter] modules; "" for all
    blocks = [1, 2]                          blocks of a block window, for methods +layers
    capacities = [1, 3]                      shares of the attention heads, for methods +heads
    steps = [5, 40]                          local steps of a round, as [round] steps
    watts = [4, 100]                         of working devices: rounds are recorded with joules
    trust_public = [0, 0.5]                  parts of the trust windows that are public text, as [data] trust_public
    train_public = [0, 0.25]                 the same of the windows that are trained on
    public_like = ["own", "any"]             which public text is trained on, as [data] public_like

With an empty list, all peers have the value of [model], [adapter], [layers], [heads], [data] or [round].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gossipllm.config import AdapterConfig, DataConfig, HeadsConfig, LayersConfig, ModelConfig
from gossipllm.config.text import PublicLike

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesConfig:
    """How devices differ. Each list is cycled over the peers; with an empty list all are alike."""

    models: tuple[str, ...] = ()
    """Base models of the peers instead of model.name. They may have tokenizers of their own, where sources hold running
    text: it is dealt in tokens of model.name, and each peer reads the same text with its own tokenizer."""

    ranks: tuple[int, ...] = ()
    """Ranks of the peers' adapters instead of adapter.rank, each 1 to 256."""

    modules: tuple[str, ...] = ()
    """Sets of modules that peers adapt instead of adapter.modules: names with blanks between them, as
    "q_proj v_proj"; an empty text for all."""

    blocks: tuple[int, ...] = ()
    """Blocks that peers train in a round instead of layers.count, for methods +layers; 0 for all, to 256."""

    capacities: tuple[int, ...] = ()
    """Parts of the heads that peers own instead of heads.capacity, for methods +heads; each 1 to 1,000."""

    steps: tuple[int, ...] = ()
    """Local steps of the peers' rounds instead of round.steps, each 1 to 100,000: in proportion to
    conditions.compute.speeds, all rounds take equally long."""

    watts: tuple[float, ...] = ()
    """Watts of the peers' devices while their learners work, each above 0 to 100,000; with none, no energy is counted.
    Joules are these watts times virtual time, so that they tell what was assumed, not what was measured."""

    trust_public: tuple[float, ...] = ()
    """Parts of the peers' trust windows that are of the public text (`DataConfig.trust_public`), each 0 to 0.9."""

    train_public: tuple[float, ...] = ()
    """Parts of peers' training windows that are of the public text (`DataConfig.train_public`), each 0 to 0.9."""

    public_like: tuple[PublicLike, ...] = ()
    """Which public text peers train on (`DataConfig.public_like`), each "any" or "own"."""

    def __post_init__(self) -> None:
        for name in ("trust_public", "train_public"):
            parts: tuple[float, ...] = getattr(self, name)
            if not all(0 <= part <= 0.9 for part in parts):
                raise ValueError(f"{name} must each be in 0..0.9, got {', '.join(map(str, parts))}")
        if not all(0 < watts <= 100_000 for watts in self.watts):
            raise ValueError(f"watts must each be in (0, 100000], got {', '.join(map(str, self.watts))}")
        for name, least, most in (
            ("ranks", 1, 256),
            ("blocks", 0, 256),
            ("capacities", 1, 1000),
            ("steps", 1, 100_000),
        ):
            values: tuple[int, ...] = getattr(self, name)
            if not all(least <= value <= most for value in values):
                raise ValueError(f"{name} must each be in {least}..{most}, got {', '.join(map(str, values))}")
        if not all(name.strip() for name in self.models):
            raise ValueError(
                f"models must each be a name or a folder, got {', '.join(map(repr, self.models))}"
            )
        for names in map(str.split, self.modules):
            if len(set(names)) < len(names):
                raise ValueError(f"modules must name each of a set once, got {' '.join(names)!r}")

    @property
    def kinds(self) -> int:
        """Number of peers after which the devices repeat."""
        return math.lcm(
            *(
                len(one)
                for one in (
                    *(self.models, self.ranks, self.modules, self.blocks, self.capacities),
                    *(self.trust_public, self.train_public, self.public_like),
                )
                if one
            )
        )

    def model(self, index: int, model: ModelConfig) -> ModelConfig:
        """Base model of peer `index`."""
        return replace(model, name=_cycled(self.models, index, model.name))

    def adapter(self, index: int, adapter: AdapterConfig) -> AdapterConfig:
        """Adapter configuration of peer `index`. Raises `ValueError` as `AdapterConfig` does."""
        rank = _cycled(self.ranks, index, adapter.rank)
        names = _cycled(self.modules, index, None)
        return replace(
            adapter,
            rank=rank,
            # A peer declines ranks above its own most_rank, and here all ranks must be accepted by all.
            most_rank=max(adapter.most_rank, rank, *self.ranks),
            modules=adapter.modules if names is None else tuple(names.split()),
        )

    def layers(self, index: int, layers: LayersConfig) -> LayersConfig:
        """Block windows of peer `index`, for methods that train them."""
        if not self.blocks:
            return layers
        count = _cycled(self.blocks, index, 0)
        # With all blocks in the window, no blocks are left for a context.
        return replace(layers, count=count, memory_mb=0, context=layers.context if count else "none")

    def heads(self, index: int, heads: HeadsConfig) -> HeadsConfig:
        """Share of the heads of peer `index`, for methods that share them out."""
        return replace(heads, capacity=_cycled(self.capacities, index, heads.capacity))

    def data(self, index: int, data: DataConfig) -> DataConfig:
        """What public text peer `index` reads, where the method predicts on it."""
        return replace(
            data,
            trust_public=_cycled(self.trust_public, index, data.trust_public),
            train_public=_cycled(self.train_public, index, data.train_public),
            public_like=_cycled(self.public_like, index, data.public_like),
        )

    def steps_of(self, index: int, steps: int) -> int:
        """Local steps of a round of peer `index`."""
        return _cycled(self.steps, index, steps)

    def watts_of(self, index: int) -> float:
        """Watts of peer `index`, 0 where none are declared."""
        return _cycled(self.watts, index, 0.0)

    def label(self, index: int) -> str:
        """How peer `index` differs from others, in a few words; empty where all are alike."""
        parts = [
            f"{word} {values[index % len(values)]}"
            for word, values in (
                ("rank", self.ranks),
                ("blocks", self.blocks),
                ("part", self.capacities),
                ("steps", self.steps),
            )
            if len(set(values)) > 1
        ]
        if len(set(self.modules)) > 1:
            parts.append(self.modules[index % len(self.modules)] or "all modules")
        if len(set(self.models)) > 1:
            parts.insert(0, Path(self.models[index % len(self.models)]).name)
        return ", ".join(parts)


def _cycled(values: Sequence[T], index: int, otherwise: T) -> T:
    return values[index % len(values)] if values else otherwise
