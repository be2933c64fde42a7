"""What a device chooses for itself where a setting says "auto": batch, learning rate and steps of a round.

The planner's equations (`planner.py`, `law.py`) on what is measured in seconds: the pace of a training pass, and the
noise of gradients. A setting that has a number stays, and what is chosen beside it fits it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeAlias

import msgspec

from gossipllm.config import TrainingConfig
from gossipllm.device.plan.planner import Device, DevicePlan, NoPlanError, Work, planned, steps_of

BATCH: Final = "training.batch_windows"
RATE: Final = "training.learning_rate"
STEPS: Final = "round.steps"
AUTOMATIC: Final = (BATCH, RATE, STEPS)
"""The settings that take "auto", by dotted key."""
MICRO: Final = "training.micro_windows"
WARMUP: Final = "training.warmup_steps"
BROUGHT: Final = (MICRO, WARMUP)
"""What a chosen batch brings with it, unless it is given."""

ChosenSettings: TypeAlias = dict[str, int | float]
"""Dotted key -> value."""


class SettingsToChoose(msgspec.Struct, frozen=True, kw_only=True):
    """Asks a learner to choose the settings `keys`, of `AUTOMATIC` and `BROUGHT`, when it opens. A training step may
    take `memory_bytes`, and updates go to so many `neighbours` at `link_bytes_s`."""

    keys: tuple[str, ...]
    memory_bytes: float
    neighbours: int
    link_bytes_s: float


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, and why. A setting that is missing keeps what it has."""

    settings: ChosenSettings
    why: str

    @property
    def line(self) -> str:
        """What was chosen and why, for people."""
        values = ", ".join(f"{key.partition('.')[2]} = {value:g}" for key, value in self.settings.items())
        return f"chosen for this device: {values or 'nothing'} ({self.why})"

    def training(self, before: TrainingConfig) -> TrainingConfig:
        """Raises `ValueError` for settings out of range, which a file may hold."""
        tables = ((key.partition("."), value) for key, value in self.settings.items())
        values: dict[str, Any] = {name: value for (table, _, name), value in tables if table == "training"}
        return replace(before, **values)

    def steps(self, before: int) -> int:
        """Steps of a round."""
        return int(self.settings.get(STEPS, before))


def chosen(keys: tuple[str, ...], device: Device, work: Work, training: TrainingConfig) -> Chosen:
    """The settings `keys` for a device as it was measured. `training` has those that are not to be chosen."""
    window = work.window_tokens
    windows = training.windows_of(window)
    settings: ChosenSettings = {}
    plan = _plan(device, work) if BATCH in keys and not training.batch_tokens else None
    if plan is not None:
        windows = settings[BATCH] = plan.batch_windows
        if MICRO in keys and plan.accumulation > 1:
            settings[MICRO] = plan.micro_windows
        # A schedule of known length has been given its warm-up.
        if WARMUP in keys and not training.decay_steps:
            settings[WARMUP] = plan.warmup_steps
    if RATE in keys:
        settings[RATE] = float(f"{work.law.rate_at(windows * window, width=work.width):.2g}")
    if STEPS in keys:
        step_s = device.pace.step_s(windows * window, windows * window)
        exchange_s = device.other_s + work.neighbours * work.update_bytes / device.link_bytes_s
        settings[STEPS] = steps_of(exchange_s, step_s, windows, work)
    fixed_ms = 1e3 * device.pace.fixed_s
    besides = f" and a pass {fixed_ms:,.0f} ms besides" if fixed_ms >= 0.5 else ""
    why = (
        f"a token takes {1e3 * device.pace.token_s:,.2g} ms{besides} on {device.name}; "
        f"gradient noise of {work.law.noise_tokens:,.0f} tokens; {work.text_tokens:,} to train on"
    )
    return Chosen(settings=settings, why=why)


def _plan(device: Device, work: Work) -> DevicePlan | None:
    """The plan of the device; None where not one window fits its memory, by the estimate."""
    try:
        return planned(device, work)
    except NoPlanError:
        return None
