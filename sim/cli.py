"""`gossipllm sim`: many peers on this machine, in virtual time; methods compared.

torch is loaded by the processes that run the peers, never by this one.
"""

from __future__ import annotations

import json
import os
import re
import statistics
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.comparison.summary import compared
from sim.comparison.tables import markdown, print_comparison
from sim.experiments.all_runs import RunDone, run_all
from sim.experiments.methods import CHANGES, METHODS, method_named
from sim.experiments.process_pool import TaskFailedError
from sim.experiments.progress import showing
from sim.experiments.results import begin_results, results_digest, run_folder, traces_digest, write_json
from sim.experiments.scenario_files import load_scenario, shipped
from sim.experiments.scenarios import DEFAULT, Scenario
from trust.errors import UserMistake


@click.command()
@click.argument("scenario", default=DEFAULT)
@click.option("-m", "--methods", metavar="A,B,C", help="What to compare; see --list.")
@click.option("--seeds", metavar="0..4", help="Seeds to run each method with: 0..4, or 0,2,5.")
@click.option("--peers", type=click.IntRange(2, 10_000), help="How many peers.")
@click.option("--rounds", type=click.IntRange(1, 100_000), help="Rounds of each peer.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting; may be repeated."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write.  [default: results/NAME]"
)
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Runs at a time.  [default: one per core]")
@click.option("--fresh", is_flag=True, help="Run also what is there already.")
@click.option("--list", "listing", is_flag=True, help="List methods and scenarios, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print table.json instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def sim(
    scenario: str,
    methods: str | None,
    seeds: str | None,
    peers: int | None,
    rounds: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    jobs: int | None,
    fresh: bool,
    listing: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run many peers on this machine and compare methods on the same data.

    SCENARIO is a TOML file, or the name of one that ships (--list). Without one, nine peers read three
    languages, and training alone is compared with averaging, with rows that know the languages, and with
    rows that the peers work out by themselves; about four minutes on two cores.

    The peers are the same code that runs on devices, with every message in its real form; time is virtual, so a
    slow network costs nothing. Each method runs once with each seed, and a run that is there already, with the
    same settings, is not repeated. Ctrl-C keeps the runs that are done.

    \b
    Examples:
      gossipllm sim
      gossipllm sim --list
      gossipllm sim --methods local,s2,s3,s1*s3 --seeds 0..4
      gossipllm sim --methods s3,s3+noguard,s3+mean --rounds 12
      gossipllm sim mixture --set data.partition.major=0.6
      gossipllm sim ranks
      gossipllm sim languages -m s3,s3+layers --set layers.count=1
      gossipllm sim my.toml --set 'data.sources=["wiki.txt", "java"]' -o out
      gossipllm trust show results/languages/s3/seed-0

    \b
    Writes into results/NAME:
      table.md, table.json  the comparison; also printed
      *.png                 rows of each method beside the theoretical ones; curves
      scenario.toml         every setting of the run, with what it means
      METHOD/seed-N/        history.msgpack (for `gossipllm trust show`), metrics.json,
                            events.jsonl.gz: everything that happened, a line each
    """
    if listing:
        _list()
        return
    resolved = load_scenario(scenario, _settings(methods, seeds, peers, rounds, settings))
    folder = out or Path("results") / resolved.name
    _run(resolved, folder, jobs=jobs or os.cpu_count() or 1, fresh=fresh, as_json=as_json, quiet=quiet)


def _settings(
    methods: str | None, seeds: str | None, peers: int | None, rounds: int | None, settings: tuple[str, ...]
) -> list[str]:
    """The short options as settings, after those that were spelled out."""
    named = list(settings)
    if methods is not None:
        named.append(f"methods={json.dumps([one.strip() for one in methods.split(',')])}")
    if seeds is not None:
        named.append(f"seeds={_seeds(seeds)}")
    if peers is not None:
        named.append(f"peers={peers}")
    if rounds is not None:
        named.append(f"round.rounds={rounds}")
    return named


def _seeds(text: str) -> list[int]:
    """`0..4` and `0,2,5`, and both: `0..2,7`."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:\.\.(\d{1,6}))?\s*", part)
        if match is None:
            raise UserMistake(f"--seeds {text}: must be like 0..4 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserMistake(f"--seeds {text}: {first}..{last} holds nothing")
        seeds += range(first, last + 1)
    return seeds


def _run(scenario: Scenario, out: Path, *, jobs: int, fresh: bool, as_json: bool, quiet: bool) -> None:
    errors = Console(stderr=True, highlight=False)
    begin_results(out, scenario)
    came: list[RunDone] = []
    try:
        with (
            showing(scenario, errors, quiet=quiet) as shown,
            closing(run_all(scenario, out, jobs=jobs, fresh=fresh)) as news,
        ):
            for one in news:
                shown.take(one)
                if isinstance(one, RunDone):
                    came.append(one)
    except KeyboardInterrupt:
        whole = len(scenario.methods) * len(scenario.seeds)
        text = f"stopped; {len(came)} of {whole} runs are done, stay in {out}, and will not be repeated"
        click.echo(text, err=True)
        raise
    except TaskFailedError as error:
        raise click.ClickException(str(error)) from None
    _show(scenario, out, came, as_json=as_json)


def _show(scenario: Scenario, out: Path, came: list[RunDone], *, as_json: bool) -> None:
    runs = sorted(
        (one.metrics for one in came), key=lambda run: (scenario.methods.index(run.method), run.seed)
    )
    about = {name: method_named(name).about for name in scenario.methods}
    comparison = compared(
        runs, scenario=scenario.name, peers=scenario.peers, rounds=scenario.round.rounds, about=about
    )
    write_json(out / "table.json", comparison)
    (out / "table.md").write_text(markdown(comparison), encoding="utf-8")
    clocks = {f"{one.metrics.method} {one.metrics.seed}": one.clock for one in came}
    write_json(out / "clocks.json", clocks)
    # matplotlib takes half a second to import, and only this needs it.
    from sim.comparison.plots import draw

    pictures = draw(runs, out)
    folders = [run_folder(out, run.method, run.seed) for run in runs]
    digest = results_digest(out, folders, ("scenario.toml", "table.json", "table.md"))
    if as_json:
        click.echo((out / "table.json").read_text(encoding="utf-8"), nl=False)
        return
    console = Console(highlight=False)
    seconds = {
        name: statistics.fmean(one.clock.wall_s for one in came if one.metrics.method == name)
        for name in about
    }
    print_comparison(comparison, seconds, console)
    click.echo(f"\nwritten to {out}/: table.md, table.json, {', '.join(pictures)}")
    click.echo(f"results {digest[:16]}, trace {traces_digest(runs)[:16]}")
    click.echo(f"who learned from whom: gossipllm trust show {folders[-1]}")


def _list() -> None:
    console = Console(highlight=False)
    for title, lines in (
        ("methods", {name: method.about for name, method in METHODS.items()}),
        ("together", {"s1*s3": "a product of s1, s2 and s3: near by each of them"}),
        ("changes, behind a method", {f"+{name}": about for name, (about, _) in CHANGES.items()}),
        ("scenarios", {name: _first_comment(path) for name, path in shipped().items()}),
    ):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, style="bold", width=13)
        table.add_column()
        for name, about in lines.items():
            table.add_row(name, Text(about))
        console.print(Text(title, style="dim"))
        console.print(table)
        console.print()


def _first_comment(path: Path) -> str:
    """What a scenario's file says of itself: its first lines, up to an empty one."""
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
