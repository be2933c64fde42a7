"""How far a long piece of work is: a bar with the time left, on standard error, where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

LONG: Final = 20_000_000
"""Bytes of history, more than which are worth a bar: read in 0.1 s where the disk is quick, written as CSV in 0.8 s."""

_ALWAYS_S: Final = 86_400.0
"""Seconds over which the speed is taken: work comes in lumps, so only the mean of all tells the time left."""

Done = Callable[[int], None]
"""Called with how much more is done, in the unit of the total."""


@contextmanager
def progress(what: str, total: int, *, shown: bool) -> Generator[Done]:
    """Nothing is left on the terminal afterwards. Without `shown` nothing appears at all."""
    if shown:
        # A fiftieth of a second to import, which most histories do not need.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if console.is_terminal:
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(30),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                console=console,
                speed_estimate_period=_ALWAYS_S,
                transient=True,
                # Standard output is the caller's, who may write bytes to it.
                redirect_stdout=False,
            ) as bar:
                task = bar.add_task(what, total=total)
                yield lambda more: bar.advance(task, more)
            return
    yield silent


def silent(more: int) -> None:
    """Tells nobody."""
    del more
