"""What a peer's settings say of its device: what cannot be measured everywhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    watts: float = 15.0
    """Watts that this device takes with all its processors busy, for the estimate of energy where neither RAPL nor NVML
    can be read: these watts times the share of the processors' time that the peer used. Above 0 to 100,000. Guess: a
    laptop; a phone takes 4, a desktop 100."""

    def __post_init__(self) -> None:
        if not 0 < self.watts <= 100_000:
            raise ValueError(f"watts must be in (0, 100000], got {self.watts}")
