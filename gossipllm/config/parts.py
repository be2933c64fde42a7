"""Settings of partial training: a few blocks of the model in a round, or the peer's own attention heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gossipllm.config.choices import ContextOperator, ContextSource, Missing, Sampling
from trust.rows.units.importance import Softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersConfig:
    """Training a few blocks at a time, after LEFF (Shen et al., NeurIPS 2025), with no server."""

    count: int = 0
    """Adjacent blocks trained in a round, drawn again each round; 0 for all, or for as many as fit `memory_mb`. Peers
    may differ in it. At most the model's blocks."""

    memory_mb: int = 0
    """Memory that a training step may take, in MB of 10^6 bytes, from which the number of blocks follows by an estimate
    (base, context, adapter and activations of a batch, without some hundred MB of the libraries); 0 where `count` is
    set. 0 to 1,000,000."""

    sampling: Sampling = "importance"
    """How the blocks of a round are drawn: by "importance", the sum of (gradient * weight)^2 that this peer and its
    neighbours measured; "uniform"; or in turn."""

    softmax: Softmax = "standardised"
    """What "importance" makes of the importances: "standardised", a softmax of their standard scores, which does not
    depend on their unit; or "plain", a softmax of the importances themselves, as in LEFF (Shen et al., NeurIPS 2025).
    Here they are in units of the mean importance of a block, because peers' own units differ."""

    temperature: float = 1.0
    """Temperature of that softmax, 0.01 to 100. LEFF has 1. Guess for "standardised"."""

    floor: float = 0.1
    """Share of the draws that is uniform, 0.01 to 1: no block is forgotten. LEFF has none. Guess."""

    smoothing: float = 0.5
    """How much of a block's importance is kept when it is measured again, 0 to 0.99. Guess."""

    probe_every: int = 0
    """Rounds between probes of all blocks, block by block, 0 to 10,000; 0 for none: importance then is what training
    happens to tell of the blocks it trains. Needs `count` or `memory_mb`."""

    context: ContextOperator = "none"
    """What the other blocks are while a window of blocks is trained: as they are; in 8 or 4 bits; partly dropped
    (Offsite-Tuning, 2302.04870); or distilled into fewer blocks (LEFF). With "int8" and "int4" a peer's base itself is
    held so, also to measure with, and the window is read from the model's files again when it is trained; the files
    must stay as they are while the peer runs. With the last two the base stays beside the context, to measure with. In
    a simulation, whose peers share one base, it always does."""

    ratio: float = 0.5
    """Share of the other blocks that "drop" and "distil" leave, 0.05 to 1. LEFF studies a curve of it."""

    contexts: ContextSource = "make"
    """Whether this peer distils contexts itself, and gives them to others, or fetches them from neighbours and, until
    it has one, drops blocks. Only for "distil". A peer that makes contexts offers only its last four, those of the
    blocks that it trained in its last rounds."""

    distil_steps: int = 100
    """Optimiser steps of distilling one block, 1 to 100,000. Same for all peers that exchange contexts. Guess."""

    distil_alpha: float = 0.5
    """Weight of the attention maps against the hidden states in distilling, 0 to 1. Same for all peers that
    exchange contexts. Guess."""

    distil_anew: bool = False
    """Whether blocks are distilled again in each round with this peer's adapter as it then is, as LEFF does with its
    global model; otherwise once, from the base alone, which others can fetch. Only for "distil", where this peer
    makes its contexts."""

    checkpoint: bool = False
    """Whether only the inputs of blocks are kept for the backward pass and the rest is computed again (gradient
    checkpointing): less memory, a third more time. With `count` and `memory_mb` at 0, of all blocks."""

    missing: Missing = "kept"
    """Whose weights count for a block that some peers did not train: only peers that trained it, as in LEFF ("renorm");
    these and this peer, trained or not ("kept"); or all peers, where the weight of those that did not train it goes to
    this peer's own block ("self"). With rows that trust few peers, "renorm" copies a block that only a distrusted peer
    trained, and "kept" did best (sim/FINDINGS.md)."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("count", 0, 256),
            ("memory_mb", 0, 1_000_000),
            ("temperature", 0.01, 100),
            ("floor", 0.01, 1),
            ("smoothing", 0, 0.99),
            ("probe_every", 0, 10_000),
            ("ratio", 0.05, 1),
            ("distil_steps", 1, 100_000),
            ("distil_alpha", 0, 1),
        ):
            value: float = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be in {least}..{most}, got {value}")
        if self.count and self.memory_mb:
            raise ValueError("count and memory_mb exclude each other: one of them decides how many blocks")
        if self.context != "none" and not self.partial:
            raise ValueError(
                f'context = "{self.context}" needs count or memory_mb: else there are no other blocks'
            )
        if self.probe_every and not self.partial:
            raise ValueError(
                "probe_every is of training in windows of blocks and needs count, which may be all blocks, or memory_mb"
            )

    @property
    def partial(self) -> bool:
        """Whether only some blocks are trained in a round."""
        return bool(self.count or self.memory_mb)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """Which attention heads this peer trains, where adapter.train = "heads". Each peer computes the owners of
    heads from the peers that it knows, by rendezvous hashing, without a coordinator."""

    copies: int = 0
    """Peers that own each head, 1 to 64: 1 for disjoint parts, more for redundancy; 0 lets every peer own all heads."""

    capacity: int = 100
    """This peer's share of the work relative to other peers, 1 to 1,000: twice the capacity owns twice the heads."""

    epoch_rounds: int = 1
    """Rounds after which the heads are dealt again, 1 to 10,000. Guess."""

    mode: Literal["mask", "subnet"] = "mask"
    """How others' heads are left out of training: "mask", the whole model is computed and only the own heads
    change; or "subnet", only the own heads are computed, and what they say counts as much as all heads would. The
    latter needs `copies` above 0."""

    def __post_init__(self) -> None:
        if not 0 <= self.copies <= 64:
            raise ValueError(f"copies must be in 0..64, got {self.copies}")
        if not 1 <= self.capacity <= 1000:
            raise ValueError(f"capacity must be in 1..1000, got {self.capacity}")
        if not 1 <= self.epoch_rounds <= 10_000:
            raise ValueError(f"epoch_rounds must be in 1..10000, got {self.epoch_rounds}")
        if self.mode == "subnet" and not self.copies:
            raise ValueError('mode = "subnet" needs copies above 0: with 0 every peer owns all heads')
