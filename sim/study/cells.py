"""A cell of the study: one setting, simulated with the real learner, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gossipllm.config import AdapterConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from sim.experiments.scenarios import Scenario, TextConfig
from sim.study.course import Point, course_of
from sim.study.settings import FALLING, FLEETS, MERGINGS, WATTS, Fleet, Setting
from sim.study.study import StudyConfig
from sim.world.agenda import EPOCH
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.world.devices import DevicesConfig

_TEST_WINDOWS: Final = 6
_TRUST_WINDOWS: Final = 2
"""Windows of a peer. Nothing is decided by trust windows here, because merges have no guard."""
_WARM_SHARE: Final = 0.1
"""Share of a device's steps over which its rate rises."""
_LEEWAY: Final = 1.6
"""Times what the summed speed needs for the budget, after which a fleet of rounds of one's own is stopped."""


_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class CellTask:
    """A cell to simulate."""

    study: StudyConfig
    setting: Setting


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a cell. `waited` is for each peer the share of its time in which its learner did nothing, up to its
    last record; `processor_s` what the simulation took here."""

    setting: dict[str, Any]
    course: tuple[Point, ...]
    waited: tuple[float, ...]
    speeds: tuple[float, ...]
    processor_s: float


def scenario_of(study: StudyConfig, setting: Setting) -> Scenario:
    """Raises `ValueError` where the setting is out of a scenario's bounds."""
    fleet, merging = FLEETS[setting.fleet], MERGINGS[setting.merge]
    speeds = speeds_of(study, fleet)
    steps = steps_of(study, setting)
    round_tokens = sum(steps) * setting.batch * study.window_tokens
    rounds = math.ceil(study.budget / round_tokens)
    own_time = not fleet.barrier
    window = study.window_tokens
    # Fast devices of unequal fleets read more than a share, and begin their text again.
    train_tokens = max(window, math.ceil(study.budget / study.devices))
    whole_s = study.budget / study.devices / (setting.batch * window) * study.step_s(setting.batch)
    total = rounds * steps[0]
    return Scenario(
        name="device-study",
        peers=study.devices,
        seeds=(study.seed,),
        methods=(merging.method,),
        merge="mean",
        clip=0.0,
        packing="normal",
        outer_momentum=merging.momentum,
        outer_rate=merging.rate,
        anneal=False,
        limit_s=_LEEWAY * whole_s if own_time else 1e8,
        data=TextConfig(
            sources=study.sources,
            window_tokens=window,
            trust_windows=_TRUST_WINDOWS,
            weigh_windows=_TRUST_WINDOWS,
            test_windows=_TEST_WINDOWS,
            partition=PartitionConfig(
                kind="exclusive" if study.apart else "iid",
                train_tokens=train_tokens,
                trust_tokens=_TRUST_WINDOWS * window * len(study.sources),
                test_tokens=_TEST_WINDOWS * window * len(study.sources),
            ),
        ),
        round=RoundConfig(
            steps=max(1, setting.steps(window)),
            rounds=100_000 if own_time else rounds,
            barrier=fleet.barrier,
            patience_s=fleet.patience_s,
            seconds=setting.steps(window) * study.step_s(setting.batch) if fleet.timed else 0.0,
            network_tokens=study.budget if setting.schedule == FALLING else 0,
        ),
        model=ModelConfig(name=study.model, device="cpu", dtype="float32"),
        adapter=AdapterConfig(train="all" if study.train == "all" else "both"),
        devices=DevicesConfig(
            watts=(sum(WATTS) / len(WATTS),) if fleet.equal else WATTS,
            steps=tuple(steps) if fleet.by_speed else (),
        ),
        training=TrainingConfig(
            batch_windows=setting.batch,
            learning_rate=setting.rate,
            warmup_steps=min(10, math.ceil(_WARM_SHARE * total)),
            arithmetic="fused",
        ),
        reference=ReferenceConfig(windows=4),
        conditions=Conditions(
            link=LinkConfig(bandwidth_bytes_s=1e3 * study.link_kb_s),
            compute=ComputeConfig(step_s=study.step_s(setting.batch), speeds=tuple(speeds)),
        ),
    )


def speeds_of(study: StudyConfig, fleet: Fleet) -> list[float]:
    """The speed of each device, whose mean is 1 whatever the fleet."""
    cycled = [fleet.speeds[index % len(fleet.speeds)] for index in range(study.devices)]
    mean = sum(cycled) / len(cycled)
    return [speed / mean for speed in cycled]


def steps_of(study: StudyConfig, setting: Setting) -> list[int]:
    """Steps of a round of each device. With steps by speed a round is as long as the whole steps of the slowest that
    fit into the setting's tokens, and the others take as many as fit into it: a step more of a slow device would hold
    up all that are faster."""
    fleet, steps = FLEETS[setting.fleet], setting.steps(study.window_tokens)
    speeds = speeds_of(study, fleet)
    if not fleet.by_speed:
        return [steps] * len(speeds)
    slowest = min(speeds)
    round_steps = max(1, math.floor(steps * slowest + _ROUNDING)) / slowest
    return [math.floor(round_steps * speed + _ROUNDING) for speed in speeds]


def perform(task: CellTask, advanced: Callable[[int], None]) -> CellResult:
    """Simulate the cell in a worker process. Raises `UserMistake`."""
    import time

    import torch
    from transformers.utils.logging import disable_progress_bar

    from sim.experiments.run import simulate

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    disable_progress_bar()
    began = time.process_time()
    scenario = scenario_of(task.study, task.setting)
    outcome = simulate(scenario, scenario.methods[0], task.study.seed, on_rounds=advanced)
    course = course_of(outcome.entries, began_s=EPOCH)
    waited: list[float] = []
    for index, peer in enumerate(outcome.metrics.peers):
        busy_s = (peer.joules or 0.0) / scenario.devices.watts_of(index)
        waited.append(1 - busy_s / peer.course[-1].seconds if peer.course else 1.0)
    return CellResult(
        setting={field: getattr(task.setting, field) for field in Setting.__dataclass_fields__},
        course=tuple(course),
        waited=tuple(waited),
        speeds=scenario.conditions.compute.speeds,
        processor_s=time.process_time() - began,
    )
