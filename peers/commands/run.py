"""The command `gossipllm run`: the peer of a home folder, until Ctrl-C. Heavy imports wait until it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from functools import partial
from pathlib import Path

import click

from peers.home.config import load_config
from peers.home.folder import Home
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--join", multiple=True, metavar="MULTIADDR", help="A peer to start from, beside those in peer.toml."
)
@click.option("--rounds", type=click.IntRange(min=1), help="Stop training at this round; go on serving.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text.")
@click.option(
    "--stop-with-stdin", is_flag=True, help="Stop when standard input ends, for programs that run peers."
)
def run(
    folder: Path, join: tuple[str, ...], rounds: int | None, as_json: bool, stop_with_stdin: bool
) -> None:
    """Run the peer whose home is DIR until Ctrl-C: train, gossip, weigh, merge.

    Prints the addresses at which others can join it. Alone it trains alone; neighbours may come and go at any
    time. Started again, it goes on where it was.

    \b
    Examples:
      gossipllm run ~/.gossipllm
      gossipllm run clinic --join /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
    """
    from peers.run.command import run_home
    from peers.run.output import output_for

    home = Home(folder)
    home.check()
    config = load_config(home.config, noticed=partial(click.echo, err=True))
    try:
        network = dataclasses.replace(config.network, join=(*config.network.join, *join))
        limit = config.round if rounds is None else dataclasses.replace(config.round, rounds=rounds)
    except ValueError as error:
        raise UserMistake(f"--join: {error}") from None
    config = dataclasses.replace(config, network=network, round=limit)
    ending = run_home(home, config, output_for(as_json=as_json), stop_with_stdin=stop_with_stdin)
    if ending.code:
        with contextlib.suppress(OSError):
            click.echo(f"Error: {ending.why}", err=True)
    sys.exit(ending.code)
