"""The arms of the comparison: what eight peers exchange while they pre-train, and the scenario of each.

All arms begin from one random base and read the same text, each window once: peers a share each, one process all of it.
So all take as many tokens. One process comes twice: with the peers' batches put together, which is what averaging the
gradients of each step computes, and with half as large ones in twice as many steps, because a process that has all the
text is free to take smaller steps. The second is what the losses are held against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipllm.base import CORPORA
from wire.updates.packing import Packing

AWAY: Final = 0.3
"""Share of the time that a peer is away under churn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    peers: int = 8
    """How many peers, 2 to 64."""

    steps: int = 256
    """Local steps of each peer in all, 8 to 1,000,000; a multiple of `round_steps`."""

    round_steps: int = 16
    """Local steps of a round, 1 to 100,000. Fewer rounds send less and end at a higher loss (sim/FINDINGS.md)."""

    batch_windows: int = 1
    """Windows of a peer's batch, 1 to 64. Small batches at a large rate, as Photon's clients (2411.02908); and of two
    windows the embedded texts do not have enough."""

    window_tokens: int = 64
    """Tokens of a window, 16 to 4,096."""

    learning_rates: tuple[float, ...] = (5e-3,)
    """Peak rates of AdamW, each above 0 to 1. Every arm, and one process too, is run with each of them, and the run of
    least loss on the trust splits is the arm's."""

    sources: tuple[str, ...] = tuple(f"embedded:{name}" for name in CORPORA)
    """Texts, all dealt to all peers."""

    seed: int = 0
    """Seed of the shares, batches, partners and crashes, 0 to 999,999."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("peers", 2, 64),
            ("steps", 8, 1_000_000),
            ("round_steps", 1, 100_000),
            ("batch_windows", 1, 64),
            ("window_tokens", 16, 4096),
            ("seed", 0, 999_999),
        ):
            value: int = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be in {least}..{most}, got {value}")
        if not self.learning_rates or len(set(self.learning_rates)) < len(self.learning_rates):
            raise ValueError(f"learning_rates must be different rates, got {self.learning_rates}")
        for rate in self.learning_rates:
            if not 0 < rate <= 1:
                raise ValueError(f"learning_rates must be in (0, 1], got {rate}")
        if not self.sources:
            raise ValueError("sources must name at least one text, got none")
        if self.steps % self.round_steps:
            raise ValueError(
                f"steps must be a multiple of round_steps ({self.round_steps}), got {self.steps}"
            )

    @property
    def tokens(self) -> int:
        """Tokens that all peers together, or one process, are trained on."""
        return self.peers * self.steps * self.batch_windows * self.window_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to pre-train together. `partners` of a round are drawn by lot, 0 for all others; `method` is a name of
    `gossipllm sim --list`. Momentum and rate are the outer optimiser's."""

    about: str
    method: str
    partners: int = 0
    packing: Packing = "tight"
    momentum: float = 0.0
    rate: float = 1.0
    churn: bool = False


ARMS: Final[dict[str, Arm]] = {
    "alone": Arm(about="each peer by itself on its share", method="local"),
    "all": Arm(about="the mean of all peers", method="fedavg"),
    "guarded": Arm(about="as all, refusing merges that do not lower the trust loss", method="fedavg+guard"),
    "diloco": Arm(
        about="Nesterov momentum over the mean of all (DiLoCo)",
        method="fedavg+nesterov",
        momentum=0.5,
        rate=0.7,
    ),
    "pairs": Arm(
        about="the mean with two partners by lot in each round",
        method="s2+noguard",
        partners=2,
    ),
    "noloco": Arm(
        about="as pairs, with momentum (NoLoCo)",
        method="s2+noguard+noloco",
        partners=2,
        momentum=0.5,
        rate=0.7,
    ),
    "sparse": Arm(
        about="as pairs, of each update the 3 % that moved most",
        method="s2+noguard",
        partners=2,
        packing="sparse",
    ),
    "churn": Arm(
        about=f"as pairs, each peer away {AWAY:.0%} of the time",
        method="s2+noguard",
        partners=2,
        churn=True,
    ),
}
