"""Text settings: a peer's own text with its splits, and the public reference set."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gossipllm.config.model import EMBEDDED
from trust.rows.evidence_kinds import Positions

Loss: TypeAlias = Literal["answers", "all"]
"""Which tokens of conversations, and of prompts with answers, bear loss."""
PublicLike: TypeAlias = Literal["any", "own"]
"""Which public text is trained on."""
Coding: TypeAlias = Literal["steps", "bfloat16"]
"""How log-probabilities are sent (`wire.predictions.logits`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    path: str = ""
    """Your text, read only: a file or a folder of .txt, .md, .csv, .tsv, .json, .jsonl or .parquet. See what is read of
    it with: gossipllm data show PATH"""

    encoding: str = ""
    """Encoding of text files that are not UTF-8, as "cp1252"; empty to find out."""

    loss: Loss = "answers"
    """What bears loss in conversations and in prompts with answers: "answers" alone, as people mostly train them
    (Ouyang et al. 2022), or "all" of the text. Other text always bears loss."""

    window_tokens: int = 128
    """Tokens of one training sequence, 8 to 131,072; at most the model's context. Guess."""

    trust_fraction: float = 0.1
    """Share of the text that decides whom to trust and is never trained on, 0.01 to 0.4. Guess."""

    test_fraction: float = 0.1
    """Share of the text that only measures, 0.01 to 0.4. Guess."""

    trust_windows: int = 16
    """At most this many windows of the trust share are used at a time, 2 to 4,096. Guess; fewer were tried in
    sim/FINDINGS.md."""

    weigh_windows: int = 8
    """Of these, windows on which each neighbour's own loss is measured where trust is made of that, 2 to 4,096. Half
    as many did as well (sim/FINDINGS.md), and rows are measured on all trust windows anyway."""

    test_windows: int = 32
    """At most this many windows of the test share are measured, 2 to 4,096. Guess."""

    trust_public: float = 0.0
    """Share of the `trust_windows` that are windows of the public text instead, 0 to 0.9: what you want to read besides
    your own text. Predictions of peers that read other texts are kept where they help there (`gossipllm sim sizes`).
    With this or `train_public`, the loss on your own text may rise by at most 1 % above the least so far; steps, merges
    and distilling are shortened or left out where it would."""

    train_public: float = 0.0
    """Share of the windows that you train on that are of the public text, 0 to 0.9; less where it is shorter."""

    public_like: PublicLike = "any"
    """Which public text you train on: "any", of each of its texts in turn, to read more than your own; or what is most
    like your "own", for devices that have little of it and train until they gain no more."""

    @property
    def public_trust_windows(self) -> int:
        """Trust windows that are of the public text, not all; they come after those of the own text."""
        return min(round(self.trust_public * self.trust_windows), self.trust_windows - 1)

    def __post_init__(self) -> None:
        if self.encoding:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    f'encoding must be known to Python, as "cp1252", got "{self.encoding}"'
                ) from None
        if not 8 <= self.window_tokens <= 131_072:
            raise ValueError(f"window_tokens must be in 8..131072, got {self.window_tokens}")
        for name in ("trust_fraction", "test_fraction"):
            value: float = getattr(self, name)
            if not 0.01 <= value <= 0.4:
                raise ValueError(f"{name} must be in 0.01..0.4, got {value}")
        for name in ("trust_public", "train_public"):
            share: float = getattr(self, name)
            if not 0 <= share <= 0.9:
                raise ValueError(f"{name} must be in 0..0.9, got {share}")
        for name in ("trust_windows", "weigh_windows", "test_windows"):
            count: int = getattr(self, name)
            if not 2 <= count <= 4096:
                raise ValueError(f"{name} must be in 2..4096, got {count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    source: str = EMBEDDED
    """Public text on which all peers predict: "embedded" or a .txt. Same for all peers, never private."""

    seed: str = "gossipllm"
    """Public seed that picks the windows. Same for all peers."""

    windows: int = 20
    """Windows of the reference set, 1 to 4,096. Five told languages apart, too (sim/FINDINGS.md)."""

    window_tokens: int = 24
    """Tokens of each window, 2 to 4,096, where windows are counted in tokens (`window_bytes`). Guess."""

    top: int = 8
    """Most probable tokens sent of each position, 1 to 256. Two told languages apart, too (sim/FINDINGS.md)."""

    positions: Positions = "all"
    """What is sent of each window: log-probabilities at "all" positions, or raw logits at the "last" one only,
    as in the code of Wagner et al. (2024), for reproduction. Same for all peers."""

    window_bytes: int = 64
    """Most bytes of each window, 16 to 4,096, the same for all tokenizers. 0 counts windows in tokens instead, as
    published work does and positions = "last" always does; then all peers need one tokenizer. Every position of a
    window but the first is predicted. 64 bytes are 28 tokens of the embedded tokenizer. Guess."""

    coding: Coding = "steps"
    """How log-probabilities are sent where windows are counted in bytes: in "steps" of 1/8 nat, entropy coded, or as
    "bfloat16" in three times the bytes. Same for all peers. Distances between peers move by 0.002 at most
    (`wire.predictions.coded_rows`)."""

    @property
    def by_bytes(self) -> bool:
        """Whether windows are stretches of bytes, which all tokenizers share, rather than of tokens."""
        return self.window_bytes > 0 and self.positions == "all"

    @property
    def coded(self) -> bool:
        return self.by_bytes and self.coding == "steps"

    def __post_init__(self) -> None:
        if not 1 <= self.windows <= 4096:
            raise ValueError(f"windows must be in 1..4096, got {self.windows}")
        if not 2 <= self.window_tokens <= 4096:
            raise ValueError(f"window_tokens must be in 2..4096, got {self.window_tokens}")
        if not 1 <= self.top <= 256:
            raise ValueError(f"top must be in 1..256, got {self.top}")
        rows = self.windows * (1 if self.positions == "last" else self.window_tokens - 1)
        if rows > 65_536:
            raise ValueError(f"windows * (window_tokens - 1) must be at most 65536, got {rows}")
        if self.window_bytes and not 16 <= self.window_bytes <= 4096:
            raise ValueError(f"window_bytes must be 0 or in 16..4096, got {self.window_bytes}")
        if self.windows * self.window_bytes > 65_536:
            raise ValueError(
                f"windows * window_bytes must be at most 65536, got {self.windows * self.window_bytes}"
            )
