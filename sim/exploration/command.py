"""The command `gossipllm sim explore`: random worlds, one after the other, until one violates an invariant."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import click
from rich.console import Console

from sim.experiments.processes.process_pool import Finished, TaskFailedError, perform_all
from sim.experiments.seeds import seeds_of
from sim.exploration.checks.table import INVARIANTS, checked
from sim.exploration.checks.violation import Violation
from sim.exploration.drawing import drawn
from sim.exploration.showing import lines_of, replay
from sim.exploration.shrinking import shrunk
from trust.errors import UserMistake

ENDLESS: Final = 1_000_000
"""Seeds to go through where only time ends the search."""
SAY_EVERY_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is left of a world once it was checked."""

    seed: int
    events: int
    violations: tuple[Violation, ...]


@click.command()
@click.option("--seeds", metavar="0..199", help="Seeds of the worlds to run.  [default: 0..199]")
@click.option("--minutes", type=click.FloatRange(0, 10_000), help="Go through the seeds for so long instead.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), default=1, help="Worlds at a time.", show_default=True
)
@click.option("--keep", metavar="0,3", help="Only these parts of the world of one seed; or: none.")
@click.option("--all", "go_on", is_flag=True, help="Go on after a violation, and list all of them.")
@click.option("--list", "listing", is_flag=True, help="List the invariants, and exit.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def explore(
    seeds: str | None,
    minutes: float | None,
    jobs: int,
    keep: str | None,
    go_on: bool,
    listing: bool,
    quiet: bool,
) -> None:
    """Run random worlds with faults and adversaries, and check what must hold in every one.

    A seed decides everything: the peers and their settings, links, crashes, full disks, dying learners, network
    splits, liars and hostile peers. Peers run the same core as devices, with toy learners. A world ends with a quiet
    time in which honest peers must recover.

    The first world that violates an invariant is made smaller, as long as the invariant stays violated, and shown with
    the events that led there and the command that runs it again. The exit code is then 1.

    \b
    Examples:
      gossipllm sim explore
      gossipllm sim explore --minutes 30 --jobs 2
      gossipllm sim explore --seeds 1234
      gossipllm sim explore --seeds 1234 --keep 0,3
    """
    if listing:
        for name, invariant in INVARIANTS.items():
            click.echo(f"{name:20}{invariant.about}")
        return
    chosen = seeds_of(seeds) if seeds else list(range(ENDLESS if minutes else 200))
    if keep is not None:
        sys.exit(_replay(chosen, keep))
    sys.exit(_search(chosen, minutes, jobs, go_on=go_on, quiet=quiet))


def look(seed: int, _: Callable[[int], None] | None = None) -> Seen:
    """Run the world of one seed and check it. The second parameter is for progress within a task, which has none."""
    outcome = checked(drawn(seed))
    return Seen(seed, outcome.events, outcome.violations)


def _replay(seeds: Sequence[int], keep: str) -> int:
    if len(seeds) != 1:
        raise UserMistake(f"--keep is for the world of one seed, got {len(seeds)} seeds")
    plan = drawn(seeds[0])
    kept = [] if keep == "none" else seeds_of(keep)
    if kept and max(kept) >= len(plan.parts):
        raise UserMistake(f"--keep {keep}: the world of seed {seeds[0]} has parts 0..{len(plan.parts) - 1}")
    outcome = checked(plan.with_parts(kept))
    for violation in outcome.violations:
        for line in lines_of(outcome, violation):
            click.echo(line)
    click.echo(f"{len(outcome.violations)} invariants violated in {outcome.events} events")
    return 1 if outcome.violations else 0


def _search(seeds: list[int], minutes: float | None, jobs: int, *, go_on: bool, quiet: bool) -> int:
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    began = said = time.monotonic()
    end = began + minutes * 60 if minutes else None
    worlds = events = failed = 0
    with closing(_seen(seeds, jobs)) as found:
        for seen in found:
            worlds, events = worlds + 1, events + seen.events
            now = time.monotonic()
            if seen.violations:
                failed += 1
                _tell(seen, shrink=not go_on)
                if not go_on:
                    break
            elif not quiet and now - said >= SAY_EVERY_S:
                said = now
                errors.print(
                    f"{worlds} worlds, {events} events in {now - began:.0f} s; last seed {seen.seed}"
                )
            if end is not None and now >= end:
                break
    took = time.monotonic() - began
    click.echo(f"{worlds} worlds, {events} events in {took:.0f} s: {failed or 'none'} violated an invariant")
    return 1 if failed else 0


def _seen(seeds: list[int], jobs: int) -> Generator[Seen]:
    if jobs == 1:
        yield from map(look, seeds)
        return
    try:
        with closing(perform_all("sim.exploration.command:look", seeds, jobs=jobs)) as progress:
            for step in progress:
                if isinstance(step, Finished):
                    yield step.result
    except TaskFailedError as error:
        raise click.ClickException(str(error)) from None


def _tell(seen: Seen, *, shrink: bool) -> None:
    for violation in seen.violations:
        click.echo(
            f"seed {seen.seed}: {violation.invariant}: {violation.peer or 'the world'} {violation.text}"
        )
    first = seen.violations[0]
    kept: tuple[int, ...] | None = None
    if shrink:
        kept, outcome = shrunk(drawn(seen.seed), first.invariant)
        for violation in outcome.violations:
            if violation.invariant == first.invariant:
                for line in lines_of(outcome, violation):
                    click.echo(line)
    click.echo(f"run it again: {replay(seen.seed, kept)}")
