"""A fleet on paper: devices as a TOML file declares them, and what is to be trained on them.

    [work]
    tokens = 10_000_000          # of all devices together
    parameters = 4_262_144       # of the model
    update_kb = 315

    [[devices]]
    name = "phone"
    count = 6
    tokens_s = 400               # or flops = 1e10, of which training reaches a part
    memory_mb = 1500
    watts = 4
    link_kb_s = 500

Where a device declares floating-point operations, a token takes 6 of them for each parameter in full training (Kaplan
et al. 2020, 2001.08361: C = 6 N D) and 4 with a frozen base, whose weights have no gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gossipllm.config.toml import read_toml
from gossipllm.device.plan.law import LAW
from gossipllm.device.plan.pace import StepPace
from gossipllm.device.plan.planner import Device, Form, Work

CHINCHILLA: Final = 20
"""Tokens for each parameter at which pre-training makes most of its operations (Hoffmann et al. 2022, 2203.15556)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperWork:
    """What is to be trained. The defaults are the embedded model's."""

    tokens: int = 1_000_000
    """Tokens that all devices together train on, at least 1."""

    parameters: int = 4_262_144
    """Of the model, at least 1."""

    width: int = 256
    """Width of the model's hidden states, 1 to 1,000,000. The learning rate falls with it."""

    full: bool = False
    """Whether all weights are trained, not an adapter."""

    window_tokens: int = 128
    """Tokens of a training sequence, 8 to 131,072."""

    update_kb: float = 315.0
    """kB of an update as it travels, above 0."""

    neighbours: int = 4
    """Neighbours that each device sends its update to in a round, 0 to 256."""

    held_mb: float = 15.0
    """MB of the model, the adapter and its moments, 0 or more."""

    token_kb: float = 82.0
    """kB of activations for each token that goes through the model, above 0. `gossipllm init` estimates them."""

    critical_tokens: float = LAW.critical_tokens
    """Critical batch size in tokens, above 0 (McCandlish et al. 2018)."""

    def __post_init__(self) -> None:
        for name in ("tokens", "parameters"):
            value: int = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 1 <= self.width <= 1_000_000:
            raise ValueError(f"width must be in 1..1000000, got {self.width}")
        if not 8 <= self.window_tokens <= 131_072:
            raise ValueError(f"window_tokens must be in 8..131072, got {self.window_tokens}")
        if not 0 <= self.neighbours <= 256:
            raise ValueError(f"neighbours must be in 0..256, got {self.neighbours}")
        for name in ("update_kb", "token_kb", "critical_tokens"):
            _must_be_positive(name, getattr(self, name))
        if not 0 <= self.held_mb < math.inf:
            raise ValueError(f"held_mb must be 0 or more, got {self.held_mb}")

    @property
    def flops(self) -> float:
        """Floating-point operations of training on one token."""
        return (6 if self.full else 4) * self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperDevice:
    """A kind of device. Either `tokens_s` or `flops` says how fast it is."""

    name: str
    count: int = 1
    """How many of them, 1 to 100,000."""

    tokens_s: float = 0.0
    """Tokens a second of training in large passes, above 0."""

    flops: float = 0.0
    """Floating-point operations a second that training reaches, above 0: about a third of what is advertised."""

    fixed_s: float = 0.03
    """Seconds that a pass takes however small it is, 0 or more. Measured on two cores: 0.03."""

    memory_mb: float = 4000.0
    """MB that a training step may take, above 0."""

    link_kb_s: float = 1250.0
    """kB a second that it sends, above 0. Guess: 10 Mbit/s."""

    watts: float = 15.0
    """Watts while it works, above 0."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name must not be empty")
        if not 1 <= self.count <= 100_000:
            raise ValueError(f"count must be in 1..100000, got {self.count}")
        if (self.tokens_s > 0) == (self.flops > 0):
            raise ValueError(f"{self.name}: one of tokens_s and flops must be above 0")
        for name in ("memory_mb", "link_kb_s", "watts"):
            _must_be_positive(name, getattr(self, name))
        if not 0 <= self.fixed_s < math.inf:
            raise ValueError(f"fixed_s must be 0 or more, got {self.fixed_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFleet:
    """All of a file of devices."""

    devices: tuple[PaperDevice, ...]
    work: PaperWork = field(default_factory=PaperWork)

    def __post_init__(self) -> None:
        if not self.devices:
            raise ValueError("devices must hold at least one device, got none")

    def planned_work(self) -> Work:
        work = self.work
        return Work(
            window_tokens=work.window_tokens,
            update_bytes=1e3 * work.update_kb,
            neighbours=work.neighbours,
            budget_tokens=work.tokens,
            width=work.width,
            law=replace(LAW, critical_tokens=work.critical_tokens),
        )

    def planned_devices(self) -> tuple[Device, ...]:
        """One for each kind."""
        return tuple(self._device(one) for one in self.devices)

    def _device(self, one: PaperDevice) -> Device:
        tokens_s = one.tokens_s or one.flops / self.work.flops
        return Device(
            name=one.name,
            pace=StepPace(one.fixed_s, 1 / tokens_s),
            memory_bytes=1e6 * one.memory_mb,
            forms=(
                Form(
                    name="all blocks",
                    held_bytes=1e6 * self.work.held_mb,
                    token_bytes=1e3 * self.work.token_kb,
                ),
            ),
            watts=one.watts,
            link_bytes_s=1e3 * one.link_kb_s,
        )


def read_fleet(path: Path) -> PaperFleet:
    """Raises `UserMistake` with one line."""
    return read_toml(path, PaperFleet)


def _must_be_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, got {value}")
