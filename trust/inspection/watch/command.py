"""`gossipllm trust watch`: shows the trust matrix while peers run. Only reads files."""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path

import click

from trust.errors import UserMistake
from trust.inspection.watch.following import Following


@click.command()
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Look at the files this often.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON line for each change (schema 1, below) instead."
)
def watch(paths: tuple[Path, ...], every_s: float, as_json: bool) -> None:
    """Show the trust matrix of PATHs live: peers' homes, or a folder that holds several.

    The matrix, below it for each peer its round, losses and bytes, and what was refused and why. Homes that appear
    later are found. Keys: arrows or h j k l move, enter opens a cell, s sorts, space freezes, b shows bytes by
    kind, r all refusals, ? help, q quits. Needs a terminal of 60x16.

    \b
    Examples:
      gossipllm trust watch ~/.gossipllm
      gossipllm trust watch runs/demo --every 5
      gossipllm trust watch runs/demo --json | jq .rows

    \b
    JSON, schema 1: the first line has all that is known,
    each later one what changed. Times are Unix seconds,
    numbers that are not finite are null.
      schema       1
      again        true where a file was replaced: forget
                   the lines before
      rows[]       of each peer that finished a round, the
                   latest: peer (id), name, round, at_s,
                   self_weight, weights {peer: weight},
                   trust_alone, trust_merged, test_alone,
                   test_merged, train_loss, temperature,
                   guard, left_out {peer: why},
                   sent {kind: bytes},
                   received {kind: bytes}
      refusals[]   at_s, peer, about, field, why
      notes[]      at_s, peer, level, text
      troubles[]   files that cannot be read to their end
    """
    if as_json:
        _print_lines(Following(paths), every_s)
        return
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UserMistake(
            "trust watch needs a terminal; for one look use gossipllm trust show, for a script --json"
        )
    following = Following(paths)
    # textual takes a third of a second to import, and JSON lines do not need it.
    from trust.inspection.watch.app import WatchApp

    app = WatchApp(following, every_s=every_s)
    app.run(mouse=False)
    if app.return_code:
        raise click.exceptions.Exit(app.return_code)


def _print_lines(following: Following, every_s: float) -> None:
    """Print a line of JSON for each change, until Ctrl-C or until the reader of standard output is gone."""
    from trust.inspection.watch.lines import WatchLines

    lines = WatchLines(following)
    while True:
        line = lines.next()
        if line is not None:
            click.echo(line)
        if not lines.behind and _abandoned(every_s):
            return


def _abandoned(wait_s: float) -> bool:
    """Wait `wait_s` seconds; return whether standard output lost its reader meanwhile.

    While there is no line to print, no write fails, so the process would outlive the pipe.
    """
    if not hasattr(select, "poll"):
        time.sleep(wait_s)
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(1000 * wait_s))
