"""A scenario's runs in processes: those that are not there yet, as many at once as there are jobs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sim.experiments.metrics import RunMetrics
from sim.experiments.process_pool import Advanced, Finished, perform_all
from sim.experiments.results import RunTimes, RunWriter, configurations, finished_run, run_folder
from sim.experiments.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class RunTask:
    """One run that is to be done, and where."""

    scenario: Scenario
    method: str
    seed: int
    folder: Path
    configuration: str


@dataclass(frozen=True, slots=True)
class RunDone:
    """A run is there, just done or `found` from before."""

    metrics: RunMetrics
    clock: RunTimes
    found: bool


@dataclass(frozen=True, slots=True)
class RunAdvanced:
    """All peers of this run have done `rounds` together."""

    method: str
    seed: int
    rounds: int


RunProgress: TypeAlias = RunDone | RunAdvanced


def run_all(scenario: Scenario, out: Path, *, jobs: int, fresh: bool) -> Generator[RunProgress]:
    """What is there already comes first. Raises `UserMistake`; closing the iterator ends all processes."""
    tasks: list[RunTask] = []
    # Seeds outside, so that after an interruption all methods have the same ones, as far as possible.
    for (method, seed), configuration in sorted(
        configurations(scenario).items(), key=lambda one: scenario.seeds.index(one[0][1])
    ):
        folder = run_folder(out, method, seed)
        found = None if fresh else finished_run(folder, configuration)
        if found is None:
            tasks.append(RunTask(scenario, method, seed, folder, configuration))
        else:
            yield RunDone(*found, found=True)
    if tasks:
        for news in perform_all("sim.experiments.all_runs:perform", tasks, jobs=jobs):
            match news:
                case Advanced(task=number, done=rounds):
                    yield RunAdvanced(tasks[number].method, tasks[number].seed, rounds)
                case Finished(result=result):
                    yield RunDone(*result, found=False)


def perform(task: RunTask, advanced: Callable[[int], None]) -> tuple[RunMetrics, RunTimes]:
    """One run, in a process of the pool."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from sim.experiments.run import simulate

    torch.set_num_threads(1)
    # Moments that decay towards zero would slow the processor's arithmetic.
    torch.set_flush_denormal(True)
    disable_progress_bar()
    writer = RunWriter(task.folder, task.configuration)
    outcome = simulate(task.scenario, task.method, task.seed, on_rounds=advanced, on_events=writer.events)
    return outcome.metrics, writer.finish(outcome.metrics, outcome.entries)
