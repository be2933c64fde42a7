"""What the peers of a scenario differ in beside their text: lists that are cycled over them.

    [devices]
    ranks = [2, 16]                          peer 0 has rank 2, peer 1 rank 16, peer 2 rank 2, ...
    modules = ["q_proj v_proj", ""]          sets of modules, as [adapter] modules; "" for all
    blocks = [1, 2]                          blocks of a round, where methods train windows
    capacities = [1, 3]                      parts of the heads, where methods deal them out

An empty list leaves everybody what [adapter], [layers] and [heads] say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesConfig:
    """What peers differ in; each list is cycled over them, and an empty one leaves all alike."""

    ranks: tuple[int, ...] = ()
    """Ranks of the peers' adapters instead of adapter.rank, each 1 to 256."""

    modules: tuple[str, ...] = ()
    """Sets of modules that peers adapt instead of adapter.modules: names with blanks between them, as
    "q_proj v_proj"; an empty text for all."""

    blocks: tuple[int, ...] = ()
    """Blocks that peers train in a round instead of layers.count, for methods +layers; 0 for all, to 256."""

    capacities: tuple[int, ...] = ()
    """Parts of the heads that peers own instead of heads.capacity, for methods +heads; each 1 to 1,000."""

    def __post_init__(self) -> None:
        for name, least, most in (("ranks", 1, 256), ("blocks", 0, 256), ("capacities", 1, 1000)):
            values: tuple[int, ...] = getattr(self, name)
            if not all(least <= value <= most for value in values):
                raise ValueError(f"{name} must each be in {least}..{most}, got {', '.join(map(str, values))}")
        for names in map(str.split, self.modules):
            if len(set(names)) < len(names):
                raise ValueError(f"modules must name each of a set once, got {' '.join(names)!r}")

    @property
    def kinds(self) -> int:
        """Peers after which everything repeats itself."""
        return math.lcm(
            *(len(one) for one in (self.ranks, self.modules, self.blocks, self.capacities) if one)
        )

    def adapter(self, index: int, adapter: AdapterConfig) -> AdapterConfig:
        """Peer `index`'s; raises `ValueError` as `AdapterConfig` does."""
        rank = _cycled(self.ranks, index, adapter.rank)
        names = _cycled(self.modules, index, None)
        return replace(
            adapter,
            rank=rank,
            # Whatever ranks there are must be welcome to all.
            most_rank=max(adapter.most_rank, rank, *self.ranks),
            modules=adapter.modules if names is None else tuple(names.split()),
        )

    def layers(self, index: int, layers: LayersConfig) -> LayersConfig:
        """Peer `index`'s, where windows are trained."""
        if not self.blocks:
            return layers
        count = _cycled(self.blocks, index, 0)
        # Who trains all blocks has no other ones that could be compressed.
        return replace(layers, count=count, memory_mb=0, context=layers.context if count else "none")

    def heads(self, index: int, heads: HeadsConfig) -> HeadsConfig:
        """Peer `index`'s, where heads are dealt out."""
        return replace(heads, capacity=_cycled(self.capacities, index, heads.capacity))

    def label(self, index: int) -> str:
        """What sets peer `index` apart from others, in a few words; nothing where all are alike."""
        parts = [
            f"{word} {values[index % len(values)]}"
            for word, values in (("rank", self.ranks), ("blocks", self.blocks), ("part", self.capacities))
            if len(set(values)) > 1
        ]
        if len(set(self.modules)) > 1:
            parts.append(self.modules[index % len(self.modules)] or "all modules")
        return ", ".join(parts)


def _cycled(values: Sequence[T], index: int, otherwise: T) -> T:
    return values[index % len(values)] if values else otherwise
