"""`gossipllm trust show`: the matrix, while peers run or afterwards. Only reads files."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from trust.inspection.reading import check_round, read_run
from trust.inspection.summary import Summary, summary
from trust.inspection.tables import print_summary
from trust.mistakes import UsersMistake


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--round",
    "at_round",
    type=int,
    metavar="N",
    help="Rows of round N. Default: the latest row of each peer.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON document (schema 1, below) instead of tables."
)
@click.option(
    "--png", type=click.Path(path_type=Path), metavar="FILE", help="Also draw the matrix into FILE."
)
def show(path: Path, at_round: int | None, as_json: bool, png: Path | None) -> None:
    """Print the trust matrix of PATH: a peer's home, or a folder that holds several.

    A row is one peer: what share of its next adapter comes from itself and from each neighbour. Below the
    matrix: how many collaborators that amounts to, the loss on the peer's own trust split before and after
    the merge, and whether its guard took the merge, shrank it or refused it.

    \b
    Examples:
      gossipllm trust show ~/.gossipllm
      gossipllm trust show runs/demo --round 5 --png trust.png
      gossipllm trust show runs/demo --json | jq '.rows[] | {name, self_weight}'

    \b
    JSON, schema 1 (numbers that are not finite are null):
      schema, round   1; the round asked for, null for the latest of each peer
      peers[]         peer (id), name: the columns
      rows[]          peer, name, round, weights[] (one for each of peers),
                      self_weight, effective, entropy, trust_alone, trust_merged,
                      test_alone, test_merged, temperature, guard
      files[]         path, records, torn_bytes, why
    """
    run = read_run(path)
    check_round(path, run.members, at_round)
    shown = summary(run.members, run.summaries, at_round=at_round)
    if png is not None:
        _draw(shown, png)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    print_summary(shown, Console(highlight=False))
    if png is not None:
        click.echo(f"drawn into {png}", err=True)


def _draw(shown: Summary, png: Path) -> None:
    # matplotlib takes half a second to import, and only this needs it.
    from trust.inspection.plots import save_heat_map

    try:
        save_heat_map(shown, png)
    except OSError as error:
        raise UsersMistake(f"{png} cannot be written: {error.strerror}") from None
