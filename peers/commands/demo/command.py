"""The command `gossipllm demo`: make the peers, run them, compare them with training alone, show the result."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.live import Live

from gossipllm.cli import INTERRUPTED
from peers.commands.demo.alone import make_lone_peers, make_one_process
from peers.commands.demo.base import make_base
from peers.commands.demo.board import DemoPeerRow, board
from peers.commands.demo.demo_peers import BASE, NAMES, DemoPeer, make_demo_peers
from peers.commands.demo.processes import running
from peers.commands.demo.results import CURVE, curve_of, show_results, write_results
from peers.commands.demo.scenarios import DEFAULT, SCENARIOS, DemoScenario
from peers.run.trio_runner import run_async
from trust.errors import UserMistake

REFRESH_S = 0.5
GOSSIP = "gossip"
"""The live table's title while the peers are joined."""


@click.command(
    epilog="\b\nScenarios:\n" + "\n".join(f"  {name:<10} {one.about}" for name, one in SCENARIOS.items())
)
@click.option(
    "--scenario",
    "name",
    type=click.Choice(list(SCENARIOS)),
    default=DEFAULT,
    show_default=True,
    metavar="NAME",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write.  [default: gossipllm-demo/TIME]"
)
@click.option("--peers", type=click.IntRange(2, len(NAMES)), default=len(NAMES), show_default=True)
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=10, show_default=True, help="Most rounds of each peer."
)
@click.option(
    "--steps", type=click.IntRange(1, 1000), default=8, show_default=True, help="Local steps of a round."
)
@click.option("--no-alone", is_flag=True, help="Leave out the comparison with training alone.")
def demo(name: str, out: Path | None, peers: int, rounds: int, steps: int, no_alone: bool) -> None:
    """Run a few real peers on this machine and watch who learns from whom.

    Four processes find each other over libp2p on loopback, each with a different part of a text: two read
    French, two German. The embedded English model learns both. No peer is told who reads what; their trust rows find
    out. Other scenarios show other ways to divide the work. Afterwards each trains once more without the others, until
    it gains no more, and the best that it reaches alone is held against what it has reached with them. Takes about two
    minutes on two cores and touches no network but loopback. Ctrl-C stops everything at once.

    \b
    Examples:
      gossipllm demo
      gossipllm demo --rounds 30 -o longer
      gossipllm demo --scenario ranks
    """
    scenario = SCENARIOS[name]
    folder = out or Path("gossipllm-demo") / time.strftime("%Y-%m-%d-%H%M%S")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserMistake(f"{folder} is not empty; choose another folder with -o")
    console = Console(highlight=False)
    threads = max(1, (os.cpu_count() or 1) // peers)
    peers_of_demo = make_demo_peers(
        scenario, folder, peers=peers, rounds=rounds, steps=steps, threads=threads
    )
    if scenario.base:
        console.print(f"making a random base of the preset {scenario.base}")
        make_base(scenario.base, folder / BASE)
    rows = _rows(scenario, peers_of_demo)
    if not run_async(_play, peers_of_demo, rows, scenario.column, folder, console, GOSSIP):
        console.print(f"\nstopped; what was done so far is in {folder}")
        sys.exit(INTERRUPTED)
    console.print()
    alone: list[DemoPeerRow] = []
    if not no_alone:
        twins = (
            (make_one_process(peers_of_demo, folder),)
            if scenario.base
            else make_lone_peers(peers_of_demo, folder)
        )
        alone = _rows(scenario, twins)
        title = "one process on all the text" if scenario.base else "each alone"
        if not run_async(_play, twins, alone, scenario.column, folder, console, title):
            console.print(f"\nstopped; the peers had finished, see {folder}")
            sys.exit(INTERRUPTED)
    show_results(scenario, peers_of_demo, rows, alone, folder, console)
    points = curve_of(peers_of_demo, folder) if scenario.base else []
    write_results(folder / "results.json", name, points, peers_of_demo, rows, alone)
    _say_what_next(scenario, peers_of_demo[0].name, peers_of_demo[1].name, folder, console)


def _rows(scenario: DemoScenario, peers_of_demo: Sequence[DemoPeer]) -> list[DemoPeerRow]:
    return [
        DemoPeerRow(
            one.name,
            one.language,
            one.peer,
            one.config.round.rounds,
            partial(scenario.particular, one.config),
        )
        for one in peers_of_demo
    ]


async def _play(
    peers_of_demo: Sequence[DemoPeer],
    rows: list[DemoPeerRow],
    column: str,
    folder: Path,
    console: Console,
    title: str,
) -> bool:
    """Run the peers under a live table of this title until none gains any more or all rounds are done; joined where it
    is `GOSSIP`, else each by itself. False if they were interrupted before."""
    began = time.monotonic()

    def table() -> object:
        return board(
            rows,
            elapsed_s=time.monotonic() - began,
            title=title,
            column=column,
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        with Live(console=console, refresh_per_second=1 / REFRESH_S, get_renderable=table):  # pyright: ignore[reportArgumentType]
            async with running(peers_of_demo, rows, folder / "peers.log", joined=title == GOSSIP):
                while not all(row.done for row in rows):
                    _check_alive(rows, folder)
                    await trio.sleep(REFRESH_S / 2)
        nursery.cancel_scope.cancel()
        return True
    return False


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def _check_alive(rows: Sequence[DemoPeerRow], folder: Path) -> None:
    for row in rows:
        if row.doing.startswith("ended"):
            raise UserMistake(
                f"the peer {row.name} {row.doing}: {row.last_words or 'see'} {folder / 'peers.log'}"
            )


def _say_what_next(scenario: DemoScenario, name: str, other: str, folder: Path, console: Console) -> None:
    console.print()
    drawn = f"trust.png, {CURVE}" if scenario.base else "trust.png"
    console.print(
        f"written to {folder}/: {drawn}, results.json, peers/ and alone/ (a home folder each)",
        soft_wrap=True,
    )
    console.print()
    console.print("[bold]what to type next")
    quoted = shlex.quote(str(folder))
    for what, command in (
        ("the matrix of the first round", f"gossipllm trust show {quoted} --round 0"),
        (f"why {name} gives {other} so much", f"gossipllm trust explain {quoted} {name} {other}"),
        ("everything as one page for a browser", f"gossipllm report {quoted} -o report.html"),
        (f"what {name} learned, beside the base", f"gossipllm chat {quoted}/peers/{name} --both"),
        (f"{name}'s whole model", f"gossipllm export {quoted}/peers/{name} --merged -o {name}-model")
        if scenario.base
        else (f"{name}'s adapter for peft", f"gossipllm export {quoted}/peers/{name} -o {name}-adapter"),
        ("a peer of your own", "gossipllm init DIR --data YOUR_TEXT"),
    ):
        console.print(f"  [dim]# {what}[/dim]\n  {command}", soft_wrap=True)
