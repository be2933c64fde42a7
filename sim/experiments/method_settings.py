"""What a method changes of a scenario's settings: each table of them, with the method's own values in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, ReferenceConfig
from peers.core.config import NO_DEFENCE, DefenceConfig, RoundConfig
from peers.core.plateau import NEVER_SETTLES, SettleConfig
from sim.experiments.methods import Method
from trust.rows.strategies import STRATEGIES

DECAY_PATIENCE: Final = 4
"""Rounds without a gain after which +decay lowers the rate, where the scenario's settle.patience is 0. Guess: half of
what a peer takes by default, because runs are compared at few rounds."""
DECAY_ROUNDS: Final = 3
"""Times the scenario's rounds that +decay may take: as much training as +steps3."""

MOST_PARTNERS: Final = 256
"""The most that a peer merges with (`RoundConfig.most_partners`)."""

_UNREAD: Final[dict[str, Any]] = {
    "windows": 1,
    "window_tokens": 2,
    "top": 1,
    "positions": "all",
    "window_bytes": 0,
}


def reference_of(method: Method, reference: ReferenceConfig, *, retains: bool = False) -> ReferenceConfig:
    """The reference set that the method needs: one window of two tokens where it compares no predictions, and training
    `retains` nothing of what was predicted."""
    changes = {"positions": "all", **method.reference} if method.predicts or retains else _UNREAD
    return replace(reference, **changes)


def round_of(method: Method, config: RoundConfig, *, peers: int) -> RoundConfig:
    """The scenario's rounds with the method's guard. Rows given in advance ("uniform", "fixed") are over all peers."""
    guard = config.guard if method.guard is None else method.guard
    config = replace(config, guard=guard, steps=config.steps * method.steps)
    if method.decay:
        # A settled peer announces no further rounds, for which a barrier would wait.
        config = replace(config, rounds=config.rounds * DECAY_ROUNDS, barrier=False)
    if not STRATEGIES[method.strategy].takes_everybody:
        return config
    most = max(config.most_partners, min(peers - 1, MOST_PARTNERS))
    return replace(config, most_partners=most)


def defence_of(method: Method, defence: DefenceConfig, *, guard: bool) -> DefenceConfig:
    """The scenario's defences, or none where the method has no guard or asks for the guard alone."""
    return defence if defended(method, guard=guard) else NO_DEFENCE


def defended(method: Method, *, guard: bool) -> bool:
    """Whether the method has a guard, and asks for more than the guard alone."""
    return method.defended and (guard if method.guard is None else method.guard)


def settle_of(method: Method, settle: SettleConfig, *, guard: bool) -> SettleConfig:
    """When peers stop training, or never where the method asks for the guard alone."""
    if method.decay:
        settle = replace(settle, schedule="decay", patience=settle.patience or DECAY_PATIENCE)
    return settle if not method.merging or defended(method, guard=guard) else NEVER_SETTLES


def adapter_of(method: Method, adapter: AdapterConfig) -> AdapterConfig:
    """The scenario's adapter with the method's rank, its initial A and its trained part."""
    rank = adapter.rank * method.ranks
    return replace(
        adapter,
        rank=rank,
        most_rank=max(rank, adapter.most_rank),
        alpha=adapter.alpha * method.ranks,
        start=method.start or adapter.start,
        train=method.train or adapter.train,
    )


def layers_of(method: Method, layers: LayersConfig) -> LayersConfig:
    """The scenario's block windows, or none where the method trains all blocks."""
    missing = method.missing or layers.missing
    return replace(layers, missing=missing) if method.layers else LayersConfig(missing=missing)


def heads_of(method: Method, heads: HeadsConfig) -> HeadsConfig:
    """The scenario's ownership of heads, or all heads for every peer."""
    return heads if method.heads else HeadsConfig()
