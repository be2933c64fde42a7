"""Shows the progress of long work: a bar with the time left at a terminal, lines at intervals or nothing elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    # rich.progress takes a fiftieth of a second to import, which most commands do not need.
    from rich.console import Console
    from rich.progress import Progress

_SPEED_PERIOD_S: Final = 86_400.0
"""Period over which rich averages the speed. Work is finished in batches, so only the mean since the start (for work of
up to a day) gives a steady estimate of the time left."""

_LINE_EVERY_S: Final = 30.0
"""Interval between two progress lines without a terminal. Guess: 120 lines in the log of an hour."""

Done = Callable[[int], None]
"""Called with the number of units finished since the last call."""


class Stages(Protocol):
    """Progress of work in several stages; `begin` takes the name of a stage and its number of units."""

    def begin(self, what: str, total: int) -> Done: ...


class SilentStages:
    """A `Stages` that shows nothing."""

    def begin(self, what: str, total: int) -> Done:
        del what, total
        return silent


def silent(more: int) -> None:
    """A `Done` that shows nothing."""
    del more


def progress_bar(console: Console, *, counted: bool, transient: bool = True) -> Progress:
    """The product's progress bar, used as a context manager. `counted` shows "3/40" instead of "7%".

    Standard output is not redirected, because the caller may write bytes to it.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn() if counted else TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        speed_estimate_period=_SPEED_PERIOD_S,
        transient=transient,
        redirect_stdout=False,
    )


@contextmanager
def progress(what: str, total: int, *, shown: bool) -> Generator[Done]:
    """Progress of one piece of work on standard error. Shown only at a terminal, and removed at the end."""
    if shown:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal:
            with progress_bar(console, counted=False) as bar:
                task = bar.add_task(what, total=total)
                yield lambda more: bar.advance(task, more)
            return
    yield silent


@contextmanager
def progress_stages(console: Console) -> Generator[Stages]:
    """Progress of stages on `console`: bars at a terminal, lines with the time left elsewhere."""
    if console.is_terminal:
        with progress_bar(console, counted=True) as bar:
            yield _Bars(bar)
    else:
        yield _Lines(console)


class _Bars:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def begin(self, what: str, total: int) -> Done:
        task = self._bar.add_task(what, total=total)
        return lambda more: self._bar.advance(task, more)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, what: str, total: int) -> Done:
        began = told = time.monotonic()
        finished = 0

        def done(more: int) -> None:
            nonlocal finished, told
            finished += more
            now = time.monotonic()
            if finished < total and now - told < _LINE_EVERY_S:
                return
            told = now
            left = (now - began) / finished * (total - finished)
            ending = f"about {left:.0f} s left" if finished < total else f"{now - began:.0f} s"
            self._console.print(f"{what}: {finished:,} of {total:,}, {ending}", markup=False, highlight=False)

        return done
