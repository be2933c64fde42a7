"""What this device can do, as the planner wants it: measured steps, free memory, the link and watts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gossipllm.device.energy import EnergyMeter
from gossipllm.device.free_memory import free_memory
from gossipllm.device.plan.law import LAW
from gossipllm.device.plan.pace import StepPace, fitted
from gossipllm.device.plan.planner import Device, Work
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.run.choosing import LIBRARIES, LINK_BYTES_S, NEIGHBOURS, SOME_MEMORY
from trust.record.history import Entry, Round
from trust.record.log import read_history

if TYPE_CHECKING:
    from gossipllm.learning.pace_measuring import Measured

_LEAST_BYTES: Final = 100_000
"""Received bytes of a round from which its pace says something about the link. Guess."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is planned, and where its numbers come from."""

    device: Device
    work: Work
    measured: Measured
    pace: StepPace
    link_from: str
    energy: str
    """By what energy is counted here, and why not otherwise."""


def measured_subject(
    config: PeerConfig,
    home: Home | None,
    *,
    seconds: float,
    tokens: int,
    on_phase: Callable[[str, int], None],
) -> Subject:
    """Measure this device with this peer's model and text. Raises `UserMistake`."""
    # Loads torch: mistakes in the arguments are told before.
    from gossipllm.learning.pace_measuring import measured

    free = float(free_memory() or SOME_MEMORY)
    found = measured(config.learner(), seconds=seconds, on_phase=on_phase)
    memory = free - LIBRARIES if found.device == "cpu" else _free_on(found.device)
    entries = () if home is None or not home.history.exists() else read_history(home.history).entries
    link, link_from = link_of(entries, upload_bytes_s=config.network.upload_bytes_s)
    pace = fitted(found.points)
    meter = EnergyMeter(watts=config.device.watts)
    method = meter.since_last(0.0).method
    device = Device(
        name=found.device,
        pace=pace,
        memory_bytes=memory,
        forms=found.forms,
        watts=config.device.watts,
        link_bytes_s=link,
        other_s=found.other_s,
    )
    work = Work(
        window_tokens=config.data.window_tokens,
        update_bytes=found.update_bytes,
        neighbours=neighbours_of(entries) or min(NEIGHBOURS, config.round.most_partners),
        text_tokens=found.text_tokens,
        budget_tokens=tokens,
        width=found.width,
        law=LAW.at_noise(found.noise_tokens),
    )
    why = f" ({meter.why_not})" if meter.why_not else ""
    return Subject(device, work, found, pace, link_from, f"{method}{why}")


def link_of(entries: Sequence[Entry], *, upload_bytes_s: float) -> tuple[float, str]:
    """Bytes a second of the link, and where that is known from: the fastest gathering of the history, else a guess; no
    more than the peer's own limit."""
    rates = [
        received / after.record.gather_s
        for before, after in pairwise(entries)
        if isinstance(after.record, Round) and after.record.gather_s > 0
        if (received := _received(after) - _received(before)) >= _LEAST_BYTES
    ]
    rate, source = (max(rates), "the history's fastest round") if rates else (LINK_BYTES_S, "a guess")
    if 0 < upload_bytes_s < rate:
        return float(upload_bytes_s), "network.upload_bytes_s"
    return rate, source


def neighbours_of(entries: Sequence[Entry]) -> int:
    """Neighbours in the last recorded round."""
    last = next((one.record for one in reversed(entries) if isinstance(one.record, Round)), None)
    return 0 if last is None else len(last.seen)


def _received(entry: Entry) -> int:
    return sum(entry.traffic.received.values())


def _free_on(device: str) -> float:
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(torch.device(device))[0])
    return SOME_MEMORY
