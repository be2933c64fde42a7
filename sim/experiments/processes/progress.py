"""Progress of a scenario's runs on standard error: a bar with the time left, or a line for each finished run."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress

from sim.experiments.processes.all_runs import RunAdvanced, RunDone, RunProgress
from sim.experiments.scenarios import Scenario
from trust.progress import progress_bar


class ProgressView(Protocol):
    def take(self, news: RunProgress) -> None: ...


@contextmanager
def showing(scenario: Scenario, console: Console, *, quiet: bool) -> Generator[ProgressView]:
    """Something that takes news and shows them on `console` meanwhile."""
    runs = len(scenario.methods) * len(scenario.seeds)
    # Methods +decay may do more: their bar is full from here on.
    rounds = scenario.peers * scenario.round.rounds
    if quiet:
        yield _Nothing()
    elif console.is_terminal:
        with progress_bar(console, counted=False) as bar:
            yield _Bar(bar, runs, rounds)
    else:
        yield _Lines(console, runs)


class _Nothing:
    def take(self, news: RunProgress) -> None:
        pass


class _Bar:
    def __init__(self, bar: Progress, runs: int, rounds: int) -> None:
        self._bar = bar
        self._runs = runs
        self._rounds = rounds
        self._found = self._done = 0
        self._rounds_done: dict[tuple[str, int], int] = {}
        self._task = bar.add_task("starting", total=None)

    def take(self, news: RunProgress) -> None:
        match news:
            case RunDone(found=True):
                self._found += 1
            case RunDone(metrics=run):
                self._done += 1
                self._rounds_done[run.method, run.seed] = self._rounds
            case RunAdvanced():
                self._rounds_done[news.method, news.seed] = min(news.rounds, self._rounds)
        self._bar.update(
            self._task,
            description=f"{self._found + self._done} of {self._runs} runs",
            total=(self._runs - self._found) * self._rounds,
            completed=sum(self._rounds_done.values()),
        )


class _Lines:
    def __init__(self, console: Console, runs: int) -> None:
        self._console = console
        self._runs = runs
        self._done = 0
        self._began = time.monotonic()

    def take(self, news: RunProgress) -> None:
        if not isinstance(news, RunDone):
            return
        self._done += 1
        run = news.metrics
        how = "there already" if news.found else f"{news.clock.wall_s:.0f} s"
        left = ""
        if not news.found and self._done < self._runs:
            seconds = (time.monotonic() - self._began) / self._done * (self._runs - self._done)
            left = f"; about {seconds:.0f} s left"
        self._console.print(f"{self._done} of {self._runs}: {run.method}, seed {run.seed}, {how}{left}")
