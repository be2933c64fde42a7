"""`gossipllm sim`: runs many peers on this machine in virtual time, and compares methods.

torch is loaded by the worker processes, never by this one.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.comparison.summary import compared
from sim.comparison.tables import markdown, print_comparison
from sim.experiments.methods import CHANGES, method_named, methods
from sim.experiments.processes.all_runs import RunDone, run_all
from sim.experiments.processes.process_pool import TaskFailedError
from sim.experiments.processes.progress import showing
from sim.experiments.results import begin_results, results_digest, run_folder, traces_digest, write_json
from sim.experiments.scenario_files import load_scenario, shipped
from sim.experiments.scenarios import DEFAULT, Scenario
from sim.experiments.seeds import seeds_of
from trust.files import write_output

SUBCOMMANDS: Final[dict[str, tuple[str, str]]] = {
    "explore": ("sim.exploration.command:explore", "Random worlds with faults, held against invariants."),
    "attacks": ("sim.attacks.command:attacks", "Attack honest peers in every known way, as a table."),
    "pretrain": ("sim.pretraining.command:pretrain", "Pre-train a random base together, beside one process."),
}
"""Command -> (module:attribute, the line that `gossipllm sim --help` shows)."""


class ScenarioOrSubcommand(click.Command):
    """The command of a scenario, or one of `SUBCOMMANDS` where its name stands in the scenario's place."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in SUBCOMMANDS:
            module, _, attribute = SUBCOMMANDS[args[0]][0].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command), f"{args[0]} names a command"
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in SUBCOMMANDS.items()])


@click.command(cls=ScenarioOrSubcommand)
@click.argument("scenario", default=DEFAULT)
@click.option("-m", "--methods", metavar="A,B,C", help="Methods to compare; see --list.")
@click.option("--seeds", metavar="0..4", help="Seeds to run each method with: 0..4, or 0,2,5.")
@click.option("--peers", type=click.IntRange(2, 10_000), help="Number of peers.")
@click.option("--rounds", type=click.IntRange(1, 100_000), help="Rounds that each peer does.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting of the scenario; may be repeated.",
)
@click.option("--attack", metavar="NAME", help="Put the peers under an attack; gossipllm sim attacks --list.")
@click.option(
    "--attackers",
    type=float,
    metavar="N",
    help="Number of attackers, below 1 their share of all peers.  [default: 0.3]",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write.  [default: results/NAME]"
)
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Runs at a time.  [default: one per core]")
@click.option("--fresh", is_flag=True, help="Repeat runs that have results already.")
@click.option("--list", "listing", is_flag=True, help="List methods and scenarios, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print table.json instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def sim(
    scenario: str,
    methods: str | None,
    seeds: str | None,
    peers: int | None,
    rounds: int | None,
    settings: tuple[str, ...],
    attack: str | None,
    attackers: float | None,
    out: Path | None,
    jobs: int | None,
    fresh: bool,
    listing: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run many peers on this machine and compare methods on the same data.

    SCENARIO is a TOML file, or the name of a scenario that ships (--list). Without it, nine peers hold text of three
    languages, and four methods are compared: training alone, plain averaging, rows that know the languages, and
    rows that the peers compute themselves (about four minutes on two cores).

    The peers run the same code as devices, with every message encoded as on the network; time is virtual, so a slow
    network costs nothing. Each method runs once with each seed. A run that has results with the same settings is not
    repeated, and Ctrl-C keeps finished runs. A setting that none of the methods reads is refused.

    \b
    Examples:
      gossipllm sim
      gossipllm sim --list
      gossipllm sim --methods local,s2,s3,s1*s3 --seeds 0..4
      gossipllm sim --methods s3,s3+noguard,s3+mean --rounds 12
      gossipllm sim published --methods s1-text+alone,s2-text+alone
      gossipllm sim mixture --set data.partition.major=0.6
      gossipllm sim ranks
      gossipllm sim languages -m s3,s3+layers --set layers.count=1
      gossipllm sim languages -m local,s3 --attack bait --attackers 0.3
      gossipllm sim my.toml --set 'data.sources=["wiki.txt", "java"]' -o out
      gossipllm trust show results/languages/s3/seed-0

    \b
    Writes into results/NAME:
      table.md, table.json  the comparison, which is also printed
      *.png                 rows of each method beside the theory, curves
      scenario.toml         every setting of the run, with its meaning
      METHOD/seed-N/        history.msgpack (for gossipllm trust show),
                            metrics.json, and events.jsonl.gz: every event
    """
    if listing:
        _list()
        return
    resolved = load_scenario(scenario, _settings(methods, seeds, peers, rounds, attack, attackers, settings))
    folder = out or Path("results") / resolved.name
    _run(resolved, folder, jobs=jobs or os.cpu_count() or 1, fresh=fresh, as_json=as_json, quiet=quiet)


def _settings(
    methods: str | None,
    seeds: str | None,
    peers: int | None,
    rounds: int | None,
    attack: str | None,
    attackers: float | None,
    settings: tuple[str, ...],
) -> list[str]:
    """All options as `key=value` settings, the short options last."""
    named = list(settings)
    if methods is not None:
        named.append(f"methods={json.dumps([name.strip() for name in methods.split(',')])}")
    if seeds is not None:
        named.append(f"seeds={seeds_of(seeds)}")
    if peers is not None:
        named.append(f"peers={peers}")
    if rounds is not None:
        named.append(f"round.rounds={rounds}")
    if attack is not None:
        named.append(f"attack.name={json.dumps(attack)}")
    if attackers is not None:
        named.append(f"attack.attackers={attackers}")
    return named


def _run(scenario: Scenario, out: Path, *, jobs: int, fresh: bool, as_json: bool, quiet: bool) -> None:
    errors = Console(stderr=True, highlight=False)
    begin_results(out, scenario)
    done: list[RunDone] = []
    try:
        with (
            showing(scenario, errors, quiet=quiet) as shown,
            closing(run_all(scenario, out, jobs=jobs, fresh=fresh)) as progress,
        ):
            for step in progress:
                shown.take(step)
                if isinstance(step, RunDone):
                    done.append(step)
    except KeyboardInterrupt:
        whole = len(scenario.methods) * len(scenario.seeds)
        text = f"stopped; {len(done)} of {whole} runs are done, stay in {out}, and will not be repeated"
        click.echo(text, err=True)
        raise
    except TaskFailedError as error:
        raise click.ClickException(str(error)) from None
    _show(scenario, out, done, as_json=as_json)


def _show(scenario: Scenario, out: Path, done: list[RunDone], *, as_json: bool) -> None:
    runs = sorted(
        (run.metrics for run in done), key=lambda run: (scenario.methods.index(run.method), run.seed)
    )
    about = {name: method_named(name).about for name in scenario.methods}
    comparison = compared(
        runs, scenario=scenario.name, peers=scenario.peers, rounds=scenario.round.rounds, about=about
    )
    write_json(out / "table.json", comparison)
    write_output(out / "table.md", lambda file: file.write(markdown(comparison).encode()))
    clocks = {f"{run.metrics.method} {run.metrics.seed}": run.clock for run in done}
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
        name: statistics.fmean(run.clock.wall_s for run in done if run.metrics.method == name)
        for name in about
    }
    print_comparison(comparison, seconds, console)
    click.echo(f"\nwritten to {out}/: table.md, table.json, {', '.join(pictures)}")
    click.echo(f"results {digest[:16]}, trace {traces_digest(runs)[:16]}")
    click.echo(f"who learned from whom: gossipllm trust show {folders[-1]}")


def _list() -> None:
    console = Console(highlight=False)
    for title, lines in (
        ("methods", {name: method.about for name, method in methods().items()}),
        ("products", {"s1*s3": "weights of two or three of s1, s2 and s3, multiplied"}),
        ("changes of a method", {f"+{name}": about for name, (about, _) in CHANGES.items()}),
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
    """The comment at the head of a scenario's file, up to an empty line."""
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
