"""Plans how a device trains, from what was measured of it: a pure function, with its equations.

**Batch and learning rate** follow from the pace (`law.py`): a device whose passes have a small fixed part trains best
with small batches, a GPU with large ones. The tokens over which the rate rises stay as many.

**Micro-batch.** What a step holds in memory is a line in the tokens that go through the model at a time. Where fewer
fit than the best batch has, each pass pays `a` anyway, so `t(B)` has no fixed part and the smallest batch is best: the
batch is what fits. Gradients are accumulated only up to `Law.least_tokens`, below which they are mostly noise.

**Steps a round.** A round costs what its steps do not: exchange of updates and measuring. Of a round it should take at
most `RHO`: `H >= t_other (1 - RHO) / (RHO t_step)` (communication to computation as DiLoCo, 2311.08105, trades it), but
not more than an epoch, so that no text is read twice between two merges. All devices of a fleet have rounds of one
length, and as many steps as fit into it, so that nobody waits.

**Memory.** The forms of a step are tried from the best to the least: all blocks, recomputed activations, fewer blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gossipllm.device.plan.law import LAW, Law
from gossipllm.device.plan.pace import StepPace

RHO: Final = 0.1
"""Most of a round that exchange and measuring should take. METHODS: 0.05 to 0.1."""
WARM_TOKENS: Final = 10 * 1024
"""Tokens over which the rate rises: the ten steps of the default batch."""
WARM_SHARE: Final = 0.02
"""Most of a run of known length that warms up. Wagner et al. (2024): 2 % of 500 steps."""
LEAST_STEPS: Final = 5
"""Fewest steps of a round, where the text has as many. Guess: moments need some."""
MOST_STEPS: Final = 1000
"""Most steps of a round that nobody else asks for. Guess."""
_POSSIBLE_STEPS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to take a step: what it holds whatever goes through the model, and for each token that does. `settings`
    are those that ask for it, by dotted key."""

    name: str
    held_bytes: float
    token_bytes: float
    settings: tuple[tuple[str, int | str | bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device can do. `forms` are from the best to the least; `other_s` are the seconds of a round that are
    neither steps nor exchange."""

    name: str
    pace: StepPace
    memory_bytes: float
    forms: Sequence[Form]
    watts: float
    link_bytes_s: float
    other_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be trained. `text_tokens` are those of the device's own text, 0 for more than a round reads;
    `budget_tokens` all that the network shall train on, 0 for no end."""

    window_tokens: int
    update_bytes: float
    neighbours: int
    text_tokens: int = 0
    budget_tokens: int = 0
    width: int = 0
    """Of the model's hidden states, 0 where it is not known."""
    law: Law = LAW


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """How one device trains, and what that costs."""

    device: str
    form: Form
    micro_windows: int
    accumulation: int
    batch_windows: int
    steps: int
    learning_rate: float
    warmup_steps: int
    decay_steps: int
    """0 where the run has no end."""
    step_s: float
    round_s: float
    exchange_s: float
    """Of a round, for sending updates and for measuring."""
    tokens_s: float
    """Over whole rounds."""
    memory_bytes: float
    round_bytes: float
    round_joules: float
    """Declared or measured watts while the device works; waiting counts nothing."""

    @property
    def busy(self) -> float:
        """Share of a round in which the device does not wait for others."""
        return min(1.0, (self.steps * self.step_s + self.exchange_s) / self.round_s)

    @property
    def round_tokens(self) -> float:
        return self.tokens_s * self.round_s


class NoPlanError(ValueError):
    """No form fits the device's memory; the message says how much is missing, and what would fit."""


def planned(device: Device, work: Work, *, round_s: float = 0.0) -> DevicePlan:
    """The plan of one device. `round_s` is the least length of its rounds, for fleets. Raises `NoPlanError`."""
    form, most = _fitting(device, work)
    window = work.window_tokens
    best = work.law.batch_tokens(device.pace.knee)
    least = math.ceil(work.law.least_tokens / window)
    batch = min(max(least, min(round(best / window), most)), _epoch(work))
    accumulation = math.ceil(batch / most)
    # Equal passes: a last pass of few windows would have the whole fixed part.
    micro = math.ceil(batch / accumulation)
    step_s = device.pace.step_s(batch * window, micro * window)
    exchange_s = device.other_s + work.neighbours * work.update_bytes / device.link_bytes_s
    steps = (
        _fleet_steps(exchange_s, step_s, round_s) if round_s else steps_of(exchange_s, step_s, batch, work)
    )
    spent_s = steps * step_s + exchange_s
    whole_s = max(round_s, spent_s)
    plan = DevicePlan(
        device=device.name,
        form=form,
        micro_windows=micro,
        accumulation=accumulation,
        batch_windows=batch,
        steps=steps,
        learning_rate=float(f"{work.law.rate_at(batch * window, width=work.width):.2g}"),
        warmup_steps=max(1, round(WARM_TOKENS / (batch * window))),
        decay_steps=0,
        step_s=step_s,
        round_s=whole_s,
        exchange_s=exchange_s,
        tokens_s=steps * batch * window / whole_s,
        memory_bytes=form.held_bytes + micro * window * form.token_bytes,
        round_bytes=work.neighbours * work.update_bytes,
        round_joules=device.watts * spent_s,
    )
    return _with_end(plan, _rounds(plan.round_tokens, work))


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """Plans of devices that train together, one for each kind, and what all of them take."""

    plans: tuple[DevicePlan, ...]
    counts: tuple[int, ...]
    rounds: int
    seconds: float
    tokens: float
    bytes: float
    joules: float


def planned_fleet(devices: Sequence[Device], counts: Sequence[int], work: Work) -> FleetPlan:
    """Rounds are as long as the slowest kind needs, and the others fill them with steps. Raises `NoPlanError` for the
    first kind that nothing fits."""
    slowest_s = max(planned(device, work).round_s for device in devices)
    plans = [planned(device, work, round_s=slowest_s) for device in devices]
    many = list(zip(plans, counts, strict=True))
    round_tokens = math.fsum(count * plan.round_tokens for plan, count in many)
    rounds = _rounds(round_tokens, work)
    return FleetPlan(
        plans=tuple(_with_end(plan, rounds) for plan in plans),
        counts=tuple(counts),
        rounds=rounds,
        seconds=rounds * slowest_s,
        tokens=rounds * round_tokens,
        bytes=rounds * math.fsum(count * plan.round_bytes for plan, count in many),
        joules=rounds * math.fsum(count * plan.round_joules for plan, count in many),
    )


def steps_of(exchange_s: float, step_s: float, batch_windows: int, work: Work) -> int:
    """Steps of a round of one device: as many as let exchange and measuring take `RHO` of it, and no more than an
    epoch."""
    wanted = math.ceil(exchange_s * (1 - RHO) / (RHO * step_s))
    most = max(LEAST_STEPS, _epoch(work) // batch_windows) if work.text_tokens else MOST_STEPS
    return max(1, min(max(wanted, LEAST_STEPS), most, MOST_STEPS))


def _rounds(round_tokens: float, work: Work) -> int:
    """Rounds until the budget is trained; 0 without one."""
    return math.ceil(work.budget_tokens / round_tokens - 1e-9)


def _with_end(plan: DevicePlan, rounds: int) -> DevicePlan:
    """The plan with a schedule that ends after so many rounds, none where there are 0."""
    if not rounds:
        return plan
    steps = min(1_000_000, rounds * plan.steps)
    warmup = min(plan.warmup_steps, math.ceil(WARM_SHARE * steps))
    return replace(plan, warmup_steps=warmup, decay_steps=steps if steps > warmup else 0)


def _fitting(device: Device, work: Work) -> tuple[Form, int]:
    """The best form of which a window fits, and how many windows do."""
    window = work.window_tokens
    for form in device.forms:
        most = math.floor((device.memory_bytes - form.held_bytes) / (form.token_bytes * window))
        if most >= 1:
            return form, most
    least = min(device.forms, key=lambda form: form.held_bytes + window * form.token_bytes)
    needed = least.held_bytes + window * least.token_bytes
    room = device.memory_bytes - least.held_bytes
    fits = math.floor(room / least.token_bytes)
    would = (
        f"windows of {fits} tokens would fit (data.window_tokens)"
        if fits >= 8
        else f"a model that takes {max(0.0, device.memory_bytes - window * least.token_bytes) / 1e6:,.0f} MB would fit"
    )
    free = device.memory_bytes
    raise NoPlanError(
        f"{device.name}: no plan fits its memory: the least, {least.name}, takes {needed / 1e6:,.0f} MB and "
        f"{free / 1e6:,.0f} MB are free, so {(needed - free) / 1e6:,.0f} MB are missing; {would}"
    )


def _epoch(work: Work) -> int:
    """Windows of the device's own text, which a step should not exceed; the most that a step can have where that is not
    known."""
    return max(1, work.text_tokens // work.window_tokens) if work.text_tokens else 4096


def _fleet_steps(exchange_s: float, step_s: float, round_s: float) -> int:
    """Steps of a round of a fleet: as many as fit into what the slowest device takes."""
    return max(1, min(_POSSIBLE_STEPS, math.floor((round_s - exchange_s) / step_s + 1e-9)))
