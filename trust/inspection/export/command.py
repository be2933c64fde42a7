"""`gossipllm trust export`: writes a run for other programs. Reads histories, writes one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Final

import click

from trust.errors import UserMistake
from trust.files import write_output
from trust.inspection.reading.files import LONG, HistoryRun, check_round, read_run
from trust.inspection.reading.unread import unread_lines
from trust.progress import Done, progress

FORMATS: Final = ("csv", "json", "npz", "parquet", "graphml")
_STREAMS: Final = ("csv", "json", "graphml")
"""Text formats, which may go to a terminal or a pipe."""
_BY_ROUND: Final = ("csv", "parquet")
"""Formats that take seconds for a long history, and report each round that they have written."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    "output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Where to write; - for standard output (csv, json, graphml).",
)
@click.option(
    "--output",
    "earlier",
    type=click.Path(path_type=Path, allow_dash=True),
    hidden=True,
    help="The earlier name of --out.",
)
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: what FILE's name ends in.")
@click.option("--round", "at_round", type=int, metavar="N", help="Only round N.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="W",
    help="For graphml: only edges with at least this weight. Default: all above 0.",
)
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
def export(
    path: Path,
    output: Path | None,
    earlier: Path | None,
    form: str | None,
    at_round: int | None,
    threshold: float | None,
    force: bool,
) -> None:
    """Write the histories of PATH, a peer's home or a folder that holds several, for other programs.

    csv and parquet have one line for each round, peer and neighbour, and one for the peer itself. npz has the
    same as arrays. json has every record as it was written. graphml has the network of one round, by default the
    latest row of each peer.

    \b
    Examples:
      gossipllm trust export runs/demo -o demo.csv
      gossipllm trust export runs/demo -o demo.graphml --round 9 --threshold 0.05
      gossipllm trust export runs/demo -o - --format json | jq '.entries | length'

    \b
    Columns of csv and parquet (empty where not known or not finite):
      round                      the peer's own count
      peer, peer_name            id and name of who learns
      from, from_name            id and name of whom it takes from; itself too
      weight                     share, 0 to 1; those of a round sum to 1
      distance, error            evidence and its standard error
      age                        rounds since its announcement came
      train_loss, trust_alone, trust_merged, test_alone, test_merged
                                 nats per token, the same in all lines of a
                                 round; alone and merged: before and after it
      temperature                chosen; in units of the median distance
      guard                      alone, taken, shrunk, refused or returned
      relation                   merges, distils, compares or apart
    In csv, texts that begin with = + - or @ have a ' before them, so that
    no spreadsheet takes them for formulas.

    \b
    Arrays of npz (R rounds, P peers, L losses; nan where not known):
      rows_RPP, distances_RPP, relations_RPP (text), losses_RPL; rounds,
      peers, names, losses name the axes; legend says it in words

    \b
    JSON, schema 1 (numbers that are not finite are null):
      schema, round   1; the round asked for or null
      peers[]         peer (id), name
      entries[]       at_s (Unix seconds), traffic (sent, received: bytes by
                      kind), record (kind: begun, round, refusal, note; with
                      its fields as in the history; only rounds where one was
                      asked for)
      files[]         path, records, torn_bytes, why

    \b
    GraphML: an edge goes from who learns to whom it takes from.
      nodes           name, round, self_weight, trust_alone, trust_merged,
                      test_alone, test_merged, guard
      edges           weight, distance
    """
    output = output or earlier
    if output is None:
        raise UserMistake("-o FILE is missing: where to write, or - for standard output")
    chosen = _chosen(output, form)
    if threshold is not None and chosen != "graphml":
        raise UserMistake(f"--threshold is for graphml; {chosen} has every weight")
    printed = str(output) == "-"
    if not (force or printed) and _exists(output):
        raise UserMistake(f"{output} exists; choose another name, or --force to replace it")
    run = read_run(path)
    check_round(path, run.members, at_round)
    if any(output.resolve() == file.resolve() for file in run.files):
        raise UserMistake(f"{output} is the history itself; choose another name")

    rounds = sum(len(member.rounds) for member in run.members)
    # No bar over printed output, which may go to the same terminal, nor for a single round, which takes no time.
    long = not printed and at_round is None and sum(history.whole for history in run.files.values()) > LONG

    def write(file: BinaryIO) -> None:
        with progress("writing", rounds, shown=long and chosen in _BY_ROUND) as done:
            _write(file, run, chosen, at_round=at_round, threshold=threshold or 0.0, done=done)

    if printed:
        write(sys.stdout.buffer)
    else:
        write_output(output, write)
    for text in unread_lines(run.summaries):
        click.echo(text, err=True)


def _exists(output: Path) -> bool:
    try:
        return output.exists()
    except OSError as error:
        raise UserMistake(f"{output} cannot be written: {error.strerror}") from None


def _chosen(output: Path, form: str | None) -> str:
    suffix = output.suffix.removeprefix(".").lower()
    chosen = form or (suffix if suffix in FORMATS else None)
    if chosen is None:
        raise UserMistake(f"the name {output} tells no format; add --format, one of {', '.join(FORMATS)}")
    if str(output) == "-" and chosen not in _STREAMS:
        raise UserMistake(f"{chosen} is no text; give a file with -o")
    return chosen


def _write(
    file: BinaryIO, run: HistoryRun, form: str, *, at_round: int | None, threshold: float, done: Done
) -> None:
    # Each format imports only its own library: pyarrow and networkx are slow to import.
    match form:
        case "csv":
            from trust.inspection.export.long_form import write_csv

            write_csv(file, run.members, at_round=at_round, done=done)
        case "parquet":
            from trust.inspection.export.long_form import write_parquet

            write_parquet(file, run.members, at_round=at_round, done=done)
        case "json":
            from trust.inspection.export.whole_history import write_json

            write_json(file, run, at_round=at_round)
        case "npz":
            from trust.inspection.export.arrays import write_npz

            write_npz(file, run.members, at_round=at_round)
        case _:
            from trust.inspection.export.graphml import write_graphml

            write_graphml(file, run.members, at_round=at_round, threshold=threshold)
