"""`gossipllm trust show`: prints the trust matrix, while peers run or afterwards. Only reads files."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click
import msgspec
from rich.console import Console

from trust.inspection.reading.costs import with_costs
from trust.inspection.reading.ordering import Order, ordered
from trust.inspection.reading.summary import Summary, summary
from trust.inspection.reading.traffic import with_bytes
from trust.inspection.show.latest import read_latest
from trust.inspection.show.tables import print_summary


@click.command()
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--round",
    "at_round",
    type=int,
    metavar="N",
    help="Rows of round N. Default: the latest row of each peer.",
)
@click.option(
    "--order",
    type=click.Choice(get_args(Order)),
    default="name",
    show_default=True,
    help="Order of rows and columns: clusters of peers that take from each other, or own weight or effective "
    "number of collaborators, the greatest first.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with a known matrix: a CSV file (below), or a simulation's metrics.json, which has its oracle.",
)
@click.option(
    "--bytes",
    "count_bytes",
    is_flag=True,
    help="Also what each peer sent and received, by kind. Reads histories as a whole.",
)
@click.option(
    "--cost",
    "count_costs",
    is_flag=True,
    help="Also what each peer spent: joules and by what they are counted, processor time, memory, bytes. Reads "
    "histories as a whole.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON document (schema 1, below) instead of tables."
)
@click.option(
    "--png", type=click.Path(path_type=Path), metavar="FILE", help="Also draw the matrix into FILE."
)
def show(
    paths: tuple[Path, ...],
    *,
    at_round: int | None,
    order: str,
    against: Path | None,
    count_bytes: bool,
    count_costs: bool,
    as_json: bool,
    png: Path | None,
) -> None:
    """Print the trust matrix of PATH: a peer's home, a folder that holds several, a history, or a run of a
    simulation (RESULTS/METHOD/seed-N). Several paths make one matrix.

    A row is one peer: what share of its next adapter comes from itself and from each neighbour. Below the
    matrix: how many collaborators that amounts to, the loss on the peer's own trust split before and after
    the merge, whether its guard took the merge, shrank it or refused it, which neighbours were left out, and whom
    nobody helps.

    \b
    Examples:
      gossipllm trust show ~/.gossipllm
      gossipllm trust show runs/demo --round 5 --png trust.png
      gossipllm trust show results/languages/s3/seed-0 --order cluster
      gossipllm trust show results/languages/s3/seed-0 \\
        --against results/languages/s3/seed-0/metrics.json
      gossipllm trust show alice/home bob/home --bytes
      gossipllm trust show ~/.gossipllm --cost
      gossipllm trust show runs/demo --json | jq '.rows[] | {name, self_weight}'

    \b
    A known matrix as CSV: who learns in rows, from whom in columns, peers by
    name or id, in any order; each row is divided by its sum.
      ,alice,bob,carol
      alice,0.5,0.5,0
      bob,0.5,0.5,0
      carol,0,0,1

    \b
    JSON, schema 1 (numbers that are not finite are null):
      schema, round   1; the round asked for, null for the latest of each peer
      peers[]         peer (id), name: the columns
      rows[]          peer, name, round, weights[] (one for each of peers),
                      self_weight, effective, entropy, trust_alone, trust_merged,
                      test_alone, test_merged, temperature, guard, left_out
                      (peer id: own, twin, loud, unbound, harmful, useless or
                      paused), others (peer id of another base: distils,
                      compares or apart), settled (true where the peer
                      trains no more), asks_in (rounds to come that ask
                      nobody, because nobody helped), forgotten (nats, null
                      where it is not measured); with --against
                      divergence (KL, nats), correlation (Spearman), else null
      files[]         path, records, torn_bytes, why; records is null where only
                      the end of a large file was decoded
      asymmetry       0 where trust is mutual, 1 where it is one-sided
      order, groups[] as asked; with --order cluster a list of peer ids for each
      against         path, floor (share of the uniform row in both rows of a
                      divergence), divergence and correlation (means), frobenius
      bytes[]         peer, name, sent, received (kind: bytes), with --bytes
      costs[]         peer, name, method (of the joules), rounds, tokens, joules,
                      seconds, processor_s, peak_bytes, sent, received; with
                      --cost, an entry for each peer and method
      blocked[]       by (a home), peer, name, why: see gossipllm trust block
    """
    found = read_latest(paths, at_round=at_round, count_bytes=count_bytes, count_costs=count_costs)
    shown = ordered(summary(found.members, found.files, at_round=at_round), cast("Order", order))
    if against is not None:
        shown = _compared(shown, against)
    if found.traffic is not None:
        shown = with_bytes(shown, found.traffic)
    if found.costs is not None:
        shown = with_costs(shown, found.costs)
    if png is not None:
        # matplotlib takes half a second to import, and only this needs it.
        from trust.inspection.show.plots import save_heat_map

        save_heat_map(shown, png)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    print_summary(shown, Console(highlight=False))
    if png is not None:
        click.echo(f"drawn into {png}", err=True)


def _compared(shown: Summary, file: Path) -> Summary:
    from trust.inspection.show.against import read_oracle, with_comparison

    return with_comparison(shown, read_oracle(file), file)
