"""The command `gossipllm run`: the peer of a home folder, until Ctrl-C. Heavy imports wait until it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from functools import partial
from pathlib import Path

import click

from peers.commands.changes import change_of
from peers.home.config import load_automatic
from peers.home.folder import Home
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--join", multiple=True, metavar="MULTIADDR", help="A peer to start from, beside those in peer.toml."
)
@click.option(
    "--rounds", type=click.IntRange(min=1), help="Stop training at this round, if not before; go on serving."
)
@click.option(
    "--until-round", "until", type=click.IntRange(min=1), metavar="N", help="End after this many rounds."
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="A setting for this run; may be repeated."
)
@click.option(
    "--after-round",
    type=click.IntRange(min=0),
    metavar="N",
    help="Go on after this round: for a home that was restored from an older copy.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text.")
@click.option(
    "--stop-with-stdin", is_flag=True, help="Stop when standard input ends, for programs that run peers."
)
def run(
    folder: Path,
    join: tuple[str, ...],
    rounds: int | None,
    until: int | None,
    changes: tuple[str, ...],
    after_round: int | None,
    as_json: bool,
    stop_with_stdin: bool,
) -> None:
    """Run the peer whose home is DIR until Ctrl-C: train, gossip, weigh, merge.

    Prints the addresses at which others can join it. Alone it trains alone; neighbours may come and go at any
    time. Started again, it goes on where it was. With --until-round it ends by itself, then or once it has settled.
    A KEY of --set is one that gossipllm config lists, its VALUE as in peer.toml.

    \b
    Examples:
      gossipllm run ~/.gossipllm
      gossipllm run clinic --join /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
      gossipllm run clinic --until-round 20 --set round.steps=50
    """
    from peers.run.command import RunOptions, run_home
    from peers.run.printing.output import output_for

    home = Home(folder)
    home.check()
    noticed = partial(click.echo, err=True)
    config, automatic = load_automatic(
        home.config, noticed=noticed, changes=[change_of(one) for one in changes]
    )
    rounds = until if rounds is None else rounds
    try:
        network = dataclasses.replace(config.network, join=(*config.network.join, *join))
        limit = config.round if rounds is None else dataclasses.replace(config.round, rounds=rounds)
    except ValueError as error:
        raise UserMistake(f"--join: {error}") from None
    config = dataclasses.replace(config, network=network, round=limit)
    options = RunOptions(
        stop_with_stdin=stop_with_stdin, ends=until is not None, after_round=after_round, automatic=automatic
    )
    ending = run_home(home, config, output_for(as_json=as_json), options)
    if ending.code:
        with contextlib.suppress(OSError):
            click.echo(f"Error: {ending.why}", err=True)
    sys.exit(ending.code)
