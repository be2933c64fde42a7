"""`gossipllm trust history`: draws one peer's row over the rounds. Only reads files."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from trust.inspection.history.curves import curves
from trust.inspection.reading.files import read_run


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("learner", metavar="I")
@click.argument("other", metavar="[J]", required=False)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N rounds.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON document (schema 1, below) instead of a drawing."
)
@click.option(
    "--png", type=click.Path(path_type=Path), metavar="FILE", help="Also draw the curves into FILE."
)
def history(
    path: Path, learner: str, other: str | None, last: int | None, as_json: bool, png: Path | None
) -> None:
    """Draw how much peer I took from its neighbours, round by round.

    PATH is a peer's home, or a folder that holds several. I and J are names, ids, or an end of an id. Without J:
    the six neighbours with the largest weights, the sum of the others, and what I kept to itself. With J: the
    weight of J alone, and below it how far J was from I by I's evidence. With J = I: what I kept to itself.

    \b
    Examples:
      gossipllm trust history ~/.gossipllm anna
      gossipllm trust history runs/demo anna bert --last 50 --png bert.png
      gossipllm trust history runs/demo anna --json | jq '.rounds[-1].weights'

    \b
    JSON, schema 1 (numbers that are not finite are null):
      schema, peer (id), name   1; the peer that learns
      about                     id of J, null for all neighbours
      peers[]                   peer (id), name: by falling mean weight
      rounds[]                  round, self_weight,
                                weights[], distances[], errors[], ages[] (one
                                for each of peers; weight 0 and null where it
                                was not seen), absorbed (shares, by push-sum),
                                temperature, guard
      files[]                   path, records, torn_bytes, why
    """
    shown = curves(read_run(path), learner, other, last=last)
    if png is not None:
        # matplotlib takes half a second to import, and only this needs it.
        from trust.files import write_output
        from trust.inspection.history.curves_png import curves_png

        picture = curves_png(shown)
        write_output(png, lambda file: file.write(picture))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    from trust.inspection.history.curves_text import print_curves

    print_curves(shown, Console(highlight=False))
    if png is not None:
        click.echo(f"drawn into {png}", err=True)
