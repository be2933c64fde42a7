"""What all cells of a study have in common: text, model, tokens and the devices' pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TEXTS: Final = ("embedded:fr", "embedded:de", "embedded:it")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    sources: tuple[str, ...] = TEXTS
    """Texts, of which each device has some."""

    apart: bool = False
    """Whether each device has one text only, in turn; otherwise all have the same shares of all."""

    train: str = "both"
    """What is trained: "both", an adapter (LoRA), or "all", the whole model."""

    model: str = "embedded"
    """Base model, as `[model] name`."""

    devices: int = 8
    """How many devices, 2 to 64."""

    budget: int = 32_768
    """Tokens that all devices together train on, 1,024 to 10^12."""

    window_tokens: int = 64
    """Tokens of a window, 8 to 131,072."""

    tokens_s: float = 100.0
    """Tokens a second of a device of mean speed in large passes, above 0. Guess: a phone with a model of 20 million
    parameters. With it a round lasts as long beside the exchange as a round of default length does on a faster one."""

    fixed_s: float = 0.12
    """Seconds that a step of that device takes however small it is, 0 or more. As many tokens' worth as on two cores
    with the embedded model: 12."""

    link_kb_s: float = 1250.0
    """kB a second that a device sends, above 0. Guess: 10 Mbit/s."""

    seed: int = 0
    """Seed of the shares, batches and initial adapters, 0 to 999,999."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("devices", 2, 64),
            ("budget", 1024, 10**12),
            ("window_tokens", 8, 131_072),
            ("seed", 0, 999_999),
        ):
            value: int = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be in {least}..{most}, got {value}")
        for name in ("tokens_s", "link_kb_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.fixed_s >= 0:
            raise ValueError(f"fixed_s must be 0 or more, got {self.fixed_s}")
        if not self.sources:
            raise ValueError("sources must name at least one text, got none")

    def step_s(self, batch_windows: int) -> float:
        """Seconds of an optimiser step on a device of mean speed."""
        return self.fixed_s + batch_windows * self.window_tokens / self.tokens_s
