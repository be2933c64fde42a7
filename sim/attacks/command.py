"""`gossipllm sim attacks`: the battery of attacks as a table."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from sim.adversaries.table import ADVERSARIES
from sim.attacks.base_model import BaseTask, base_folder
from sim.attacks.battery import SHARES, STRATEGIES, BatteryConfig, Cell, cells, tasks
from sim.attacks.judging import CellResult, Limits, judged
from sim.attacks.table import print_results, shown_attackers
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.methods import method_named, suggestion
from sim.experiments.processes.process_pool import Advanced, Finished, TaskFailedError, perform_all
from sim.experiments.results import finished_run, write_json
from sim.experiments.seeds import seeds_of
from trust.errors import UserMistake
from trust.progress import progress_bar

QUICK_ATTACKS: Final = (
    *("sign-flip", "scale-factors", "noise", "free-zero", "dissensus", "bait", "alie", "label-flip", "copy"),
)
"""One attack of each kind that a method is likely to miss."""


@click.command()
@click.option(
    "-m", "--methods", metavar="A,B", help=f"Methods under attack.  [default: {','.join(STRATEGIES)}]"
)
@click.option("-a", "--attacks", metavar="A,B", help="Attacks; see --list.  [default: all]")
@click.option(
    "--attackers", metavar="1,0.3", help="Numbers of attackers, below 1 shares.  [default: 1,0.3,0.5]"
)
@click.option("--seeds", metavar="0..4", help="Seeds of each cell.  [default: 0..4]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the battery's scenario.",
)
@click.option("--quick", is_flag=True, help="A few attacks by 30 % on two methods with one seed.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="results/attacks",
    help="Folder to write.",
    show_default=True,
)
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Runs at a time.  [default: one per core]")
@click.option("--fresh", is_flag=True, help="Repeat runs that have results already.")
@click.option("--list", "listing", is_flag=True, help="List the attacks, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def attacks(
    methods: str | None,
    attacks: str | None,
    attackers: str | None,
    seeds: str | None,
    settings: tuple[str, ...],
    quick: bool,
    out: Path,
    jobs: int | None,
    fresh: bool,
    listing: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Attack seven honest peers in every known way, and compare each with training alone.

    The honest peers run the code of devices on a tiny language model; attackers join them, train as they do, and
    publish something else. Each row of the table is one attack on one method, over all seeds. Numbers beyond a limit
    are marked, and then the exit code is 1.

    Runs that have results are not repeated, and Ctrl-C shows the table of what is there. The whole battery is more than
    1,500 runs of several seconds each.

    \b
    Examples:
      gossipllm sim attacks --quick
      gossipllm sim attacks --attacks bait,dissensus --methods s3,s2 --seeds 0,1
      gossipllm sim attacks --attacks backdoor --methods s3,s3+noguard --set adapter.rank=2
      gossipllm sim languages --attack bait --attackers 0.3
    """
    if listing:
        _list()
        return
    config = _config(methods, attacks, attackers, seeds, settings, quick=quick)
    found: dict[tuple[Cell, int], RunMetrics] = {}
    errors = Console(stderr=True, highlight=False)
    measuring = _runs(config, out, jobs=jobs or os.cpu_count() or 1, fresh=fresh, errors=errors, quiet=quiet)
    try:
        with closing(measuring):
            for key, metrics in measuring:
                found[key] = metrics  # noqa: PERF403  an interruption keeps what came before it
    except KeyboardInterrupt:
        click.echo(f"stopped; what is measured stays in {out}", err=True)
        _show(config, found, out, as_json=as_json)
        raise
    except TaskFailedError as error:
        raise click.ClickException(str(error)) from None
    if any(result.misses for result in _show(config, found, out, as_json=as_json)):
        raise click.exceptions.Exit(1)


def _config(
    methods: str | None,
    attacks: str | None,
    attackers: str | None,
    seeds: str | None,
    settings: tuple[str, ...],
    *,
    quick: bool,
) -> BatteryConfig:
    """The options as a configuration. Raises `UserMistake` for an unknown name."""
    chosen = _names(methods) or (STRATEGIES[:1] + STRATEGIES[2:3] if quick else STRATEGIES)
    for name in chosen:
        method_named(name)
    named = _names(attacks) or (QUICK_ATTACKS if quick else tuple(ADVERSARIES))
    for name in named:
        if name not in ADVERSARIES:
            raise UserMistake(f"--attacks: unknown attack {name}, {suggestion(name, ADVERSARIES)}")
    try:
        numbers = tuple(map(float, _names(attackers))) or ((0.3,) if quick else SHARES)
        return BatteryConfig(
            methods=chosen,
            attacks=named,
            attackers=numbers,
            seeds=tuple(seeds_of(seeds or ("0" if quick else "0..4"))),
            settings=settings,
        )
    except ValueError as error:
        raise UserMistake(f"sim attacks: {error}") from None


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _runs(
    config: BatteryConfig, out: Path, *, jobs: int, fresh: bool, errors: Console, quiet: bool
) -> Generator[tuple[tuple[Cell, int], RunMetrics]]:
    """The metrics of all runs, those found in `out` first. Closing the generator ends all processes."""
    base = base_folder(out)
    if not base.is_dir():
        if not quiet:
            errors.print("training the tiny base model, about half a minute")
        for _ in perform_all("sim.attacks.base_model:make_base", [BaseTask(base)], jobs=1):
            pass
    waiting = tasks(config, out, base)
    for key, task in tuple(waiting.items()):
        found = None if fresh else finished_run(task.folder, task.configuration)
        if found is not None:
            del waiting[key]
            yield key, found[0]
    if not waiting:
        return
    keys = list(waiting)
    with _progress(errors, len(keys), quiet=quiet) as told:
        for progress in perform_all(
            "sim.experiments.processes.all_runs:perform", list(waiting.values()), jobs=jobs
        ):
            match progress:
                case Advanced():
                    pass
                case Finished(task=number, result=result):
                    cell, seed = keys[number]
                    told(f"{cell.attack} {shown_attackers(cell.attackers)} {cell.method}, seed {seed}")
                    yield (cell, seed), result[0]


@contextmanager
def _progress(console: Console, runs: int, *, quiet: bool) -> Generator[Callable[[str], None]]:
    """Something to call with the name of each finished run."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with progress_bar(console, counted=True) as bar:
            task = bar.add_task("runs", total=runs)
            yield lambda name: bar.update(task, advance=1, description=name)
    else:
        done = itertools.count(1)
        yield lambda name: console.print(f"{next(done)} of {runs}: {name}")


def _show(
    config: BatteryConfig, found: dict[tuple[Cell, int], RunMetrics], out: Path, *, as_json: bool
) -> list[CellResult]:
    limits = Limits()
    results = [one for cell in cells(config) if (one := judged(cell, found, limits)) is not None]
    if out.is_dir():
        write_json(out / "attacks.json", results)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(results), indent=1).decode())
    else:
        print_results(results, limits, Console(highlight=False))
    return results


def _list() -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for name, adversary in ADVERSARIES.items():
        table.add_row(name, adversary.about)
    Console(highlight=False).print(table)
