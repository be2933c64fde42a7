"""How far an evaluation is, on standard error: a bar with the time left, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_ALWAYS_S: Final = 86_400.0
"""Seconds over which the speed is taken: examples come in batches, so only the mean of all tells the time left."""

_TELL_EVERY_S: Final = 30.0


class Stages(Protocol):
    """Tells of one stage after the other. What `begin` returns is called with how many more are finished."""

    def begin(self, what: str, total: int) -> Callable[[int], None]: ...


class Quiet:
    """Tells nothing."""

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        del what, total
        return lambda _: None


@contextmanager
def showing(console: Console) -> Generator[Stages]:
    """Stages that are shown on `console` meanwhile."""
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            speed_estimate_period=_ALWAYS_S,
            transient=True,
        ) as bar:
            yield _Bars(bar)
    else:
        yield _Lines(console)


class _Bars:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        task = self._bar.add_task(what, total=total)
        return lambda more: self._bar.advance(task, more)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        began = told = time.monotonic()
        finished = 0

        def done(more: int) -> None:
            nonlocal finished, told
            finished += more
            now = time.monotonic()
            if finished < total and now - told < _TELL_EVERY_S:
                return
            told = now
            left = (now - began) / finished * (total - finished)
            ending = f"about {left:.0f} s left" if finished < total else f"{now - began:.0f} s"
            self._console.print(f"{what}: {finished:,} of {total:,}, {ending}", markup=False, highlight=False)

        return done
