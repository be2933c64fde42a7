"""The page that `gossipllm plan` prints: what was measured, what is proposed, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gossipllm.config.toml import literal
from gossipllm.device.plan.planner import DevicePlan, FleetPlan, Work
from peers.commands.plan.measuring import Subject
from trust.counting import counted, in_bytes


def settings_of(plan: DevicePlan, subject: Subject) -> dict[str, int | float | str | bool]:
    """The plan as settings of `peer.toml`, by dotted key."""
    settings: dict[str, int | float | str | bool] = {
        "training.batch_windows": plan.batch_windows,
        "training.batch_tokens": 0,
        "training.micro_windows": plan.micro_windows if plan.accumulation > 1 else 0,
        "training.learning_rate": plan.learning_rate,
        "training.warmup_steps": plan.warmup_steps,
        "training.decay_steps": plan.decay_steps,
        "round.steps": plan.steps,
        **dict(plan.form.settings),
    }
    if subject.measured.faster_dtype:
        settings["model.dtype"] = subject.measured.faster_dtype
    return settings


def page(
    plan: DevicePlan, subject: Subject, settings: Mapping[str, int | float | str | bool]
) -> Iterator[str]:
    """The page, at most 80 columns but for names."""
    found, pace, device, work = subject.measured, subject.pace, subject.device, subject.work
    yield f"measured in {found.seconds:.0f} s: {found.dtype} on {found.device}"
    for tokens, seconds in found.points:
        yield f"  {tokens:>7,} tokens a pass  {1e3 * seconds:>8,.1f} ms  {tokens / seconds:>9,.0f} tokens/s"
    yield f"  fitted: {1e3 * pace.fixed_s:.1f} ms a pass + {1e6 * pace.token_s:,.0f} us a token"
    for name, rate in found.others.items():
        yield f"  {name}: {rate * work.window_tokens:,.0f} tokens/s in passes of four windows"
    yield f"  memory: {in_bytes(device.memory_bytes)} for a step; at most {in_bytes(found.peak_bytes)} taken now"
    yield f"  a round's measuring: {device.other_s:.2f} s"
    yield f"  noise of gradients: {found.noise_tokens:,.0f} tokens"
    yield f"  link: {in_bytes(device.link_bytes_s)} a second ({subject.link_from})"
    yield f"  energy: {subject.energy}"
    yield ""
    yield "proposed"
    for key, value in settings.items():
        yield f"  {key} = {literal(value)}"
    yield "  adapter.rank: as it is; it hardly changes what a step takes"
    yield ""
    yield "why"
    yield from (f"  {line}" for line in _reasons(plan, subject))
    yield ""
    yield "expected"
    yield from (f"  {line}" for line in _expected(plan, work))


def _reasons(plan: DevicePlan, subject: Subject) -> Iterator[str]:
    pace, work = subject.pace, subject.work
    law = work.law
    yield "batch: the time to a loss is least at sqrt(critical batch x knee) tokens, here"
    yield f"  sqrt({law.critical_tokens:,.0f} x {pace.knee:,.0f}) = {law.batch_tokens(pace.knee):,.0f};"
    yield "  the knee is where the fixed part of a pass takes half of its time, and"
    yield "  the critical batch rises with the noise of gradients"
    if plan.accumulation > 1:
        yield f"micro-batch: {counted(plan.micro_windows, 'window')} at a time, because no more fit"
    if plan.form.settings:
        yield f"{plan.form.name}: with less saving, not one window would fit"
    yield "learning rate: fitted to small models alone; it rises with the batch, falls with"
    yield "  the noise and the width"
    share = _percent(plan.exchange_s / plan.round_s)
    yield f"steps: exchange and measuring take {plan.exchange_s:.1f} s, {share} of a round;"
    yield "  10 % are aimed at, but a round reads the text at most once"
    if plan.decay_steps:
        yield f"schedule: falls to its end with the {work.budget_tokens:,} tokens of --tokens"
    else:
        yield "schedule: none but the warm-up; --tokens N plans one for a run of known length"


def _expected(plan: DevicePlan, work: Work) -> Iterator[str]:
    yield f"{plan.tokens_s:,.0f} tokens/s over whole rounds of {plan.round_s:.1f} s ({plan.step_s:.3f} s a step)"
    others = counted(work.neighbours, "neighbour")
    yield f"{in_bytes(plan.memory_bytes)} a step, {in_bytes(plan.round_bytes)} sent a round to {others}"
    yield f"{plan.round_joules:,.0f} J a round, from declared watts (device.watts)"


def fleet_page(fleet: FleetPlan, work: Work) -> Iterator[str]:
    heads = ("device", "n", "batch", "micro", "steps", "rate", "tokens/s", "busy", "J a round")
    rows = [
        (
            plan.device,
            str(count),
            str(plan.batch_windows),
            str(plan.micro_windows),
            str(plan.steps),
            f"{plan.learning_rate:g}",
            f"{plan.tokens_s:,.0f}",
            _percent(plan.busy),
            f"{plan.round_joules:,.0f}",
        )
        for plan, count in zip(fleet.plans, fleet.counts, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        first, *others = zip(row, widths, strict=True)
        yield "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()
    yield ""
    rounds = f"{counted(fleet.rounds, 'round')} of {fleet.plans[0].round_s:.1f} s"
    yield f"{rounds} to {work.budget_tokens:,} tokens: {_duration(fleet.seconds)}"
    yield f"{in_bytes(fleet.bytes)} sent, {fleet.joules:,.0f} J by declared watts"
    yield "batch and micro in windows; busy: share of a round without waiting"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
