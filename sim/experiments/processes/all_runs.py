"""The runs of a scenario in worker processes, `jobs` at a time; finished runs are not repeated."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.processes.process_pool import Advanced, Finished, perform_all
from sim.experiments.results import RunTimes, RunWriter, configurations, finished_run, run_folder
from sim.experiments.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class RunTask:
    """A run to perform, and the folder for its results."""

    scenario: Scenario
    method: str
    seed: int
    folder: Path
    configuration: str


@dataclass(frozen=True, slots=True)
class RunDone:
    """A run has results: new ones, or `found` ones of an earlier command."""

    metrics: RunMetrics
    clock: RunTimes
    found: bool


@dataclass(frozen=True, slots=True)
class RunAdvanced:
    """All peers of a run together have done `rounds` rounds."""

    method: str
    seed: int
    rounds: int


RunProgress: TypeAlias = RunDone | RunAdvanced


def run_all(scenario: Scenario, out: Path, *, jobs: int, fresh: bool) -> Generator[RunProgress]:
    """Progress of all runs, those found in `out` first.

    Raises `UserMistake`. Closing the iterator ends all processes.
    """
    tasks: list[RunTask] = []
    # Seed by seed, so that after an interruption most methods have results for the same seeds.
    for (method, seed), configuration in sorted(
        configurations(scenario).items(), key=lambda item: scenario.seeds.index(item[0][1])
    ):
        folder = run_folder(out, method, seed)
        found = None if fresh else finished_run(folder, configuration)
        if found is None:
            tasks.append(RunTask(scenario, method, seed, folder, configuration))
        else:
            yield RunDone(*found, found=True)
    if tasks:
        for progress in perform_all("sim.experiments.processes.all_runs:perform", tasks, jobs=jobs):
            match progress:
                case Advanced(task=number, done=rounds):
                    yield RunAdvanced(tasks[number].method, tasks[number].seed, rounds)
                case Finished(result=result):
                    yield RunDone(*result, found=False)


def perform(task: RunTask, advanced: Callable[[int], None]) -> tuple[RunMetrics, RunTimes]:
    """Perform a run in a worker process, and write its folder."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from sim.experiments.run import simulate

    torch.set_num_threads(1)
    # AdamW's moments decay towards zero, and arithmetic on denormal numbers is many times slower.
    torch.set_flush_denormal(True)
    disable_progress_bar()
    writer = RunWriter(task.folder, task.configuration)
    outcome = simulate(task.scenario, task.method, task.seed, on_rounds=advanced, on_events=writer.events)
    return outcome.metrics, writer.finish(outcome.metrics, outcome.entries)
