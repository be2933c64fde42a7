"""The table of commands of `gossipllm trust`."""

from __future__ import annotations

from typing import Final

import click

from trust.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "show": ("trust.inspection.show.command:show", "The trust matrix: who learns from whom."),
    "watch": ("trust.inspection.watch.command:watch", "The same, live, while peers run."),
    # Above trust, because these read and write a peer's home; strings, so that imports still point downwards.
    "explain": (
        "peers.commands.explain.command:explain",
        "Why one peer listens to another as much as it does.",
    ),
    "block": ("peers.commands.block:block", "Take nothing of a peer any more."),
    "unblock": ("peers.commands.block:unblock", "Take part with a blocked peer again."),
    "history": ("trust.inspection.history.command:history", "How a peer's weights moved over the rounds."),
    "diff": ("trust.inspection.diff.command:diff", "What differs between two runs."),
    "export": (
        "trust.inspection.export.command:export",
        "Everything as csv, json, npz, parquet or GraphML.",
    ),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def trust() -> None:
    """Who learns from whom, how much, and why.

    Reads the histories that peers and the simulator write. Works while they run, and long after; asks no peer
    anything. Only block and unblock change what a peer does.
    """
