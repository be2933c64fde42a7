"""`gossipllm trust diff`: prints what differs between two runs. Only reads files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from trust.inspection.diff.differences import (
    Differences,
    MeasureDifference,
    MethodDifference,
    PeerChange,
    RunPair,
)
from trust.inspection.diff.pairing import pair
from trust.inspection.diff.settings import SettingDifference, differing_settings
from trust.inspection.diff.sides import Side, paired_seeds, paired_sides
from trust.inspection.diff.significance import mean, paired, verdict
from trust.inspection.reading.files import read_run
from trust.inspection.reading.summary import FileSummary
from trust.names import escaped


@click.command()
@click.argument("first", metavar="RUN1", type=click.Path(path_type=Path))
@click.argument("second", metavar="RUN2", type=click.Path(path_type=Path))
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON document (schema 1, below) instead of tables."
)
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Say what differs between RUN1 and RUN2, which are called A and B.

    A run is a peer's home, a folder of homes, or a simulation's: RESULTS/METHOD/seed-N, a METHOD with all its
    seeds, or RESULTS with all its methods, which are compared by name. Several seeds on both sides are paired by
    seed: the mean of the differences, a 95 % interval, and how likely chance alone would do it.

    Peers are the same if their ids are, or their names. Compared are settings, the matrices of the last round
    that most peers have on both sides, test losses after the last merge, and bytes.

    \b
    Examples:
      gossipllm trust diff runs/monday runs/tuesday
      gossipllm trust diff results/languages/fedavg results/languages/s3
      gossipllm trust diff before after --json | jq '.comparisons[].measures'

    \b
    JSON, schema 1 (numbers that are not finite are null):
      schema          1
      comparisons[]   one for each method, or for the two runs:
        first, second   what is compared
        settings[]      name, first, second: those that differ
        pairs[]         one for each seed: first_seed, second_seed, round,
                        rows, frobenius, moved,
                        weights[] (who, whom, first, second),
                        peers[] (name, first_peer, second_peer, first_round,
                        second_round, first_loss, second_loss,
                        first_perplexity, second_perplexity),
                        first_only[], second_only[],
                        bytes[] (way, kind, first, second)
        measures[]      name, first, second (means), n (pairs),
                        mean, std, low, high of the differences B - A,
                        t_p, wilcoxon_p, verdict
        files[]         path, records, torn_bytes, why
    """
    found = Differences(comparisons=tuple(_compared(*sides) for sides in paired_sides(first, second)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    from trust.inspection.diff.differences_text import print_differences

    print_differences(found, Console(highlight=False))


def _compared(ours: Side, theirs: Side) -> MethodDifference:
    pairs: list[RunPair] = []
    settings: tuple[SettingDifference, ...] = ()
    files: list[FileSummary] = []
    # One pair of runs in memory at a time.
    for mine, other in paired_seeds(ours, theirs):
        first, second = read_run(ours.folders[mine]), read_run(theirs.folders[other])
        pairs.append(pair(first, second, seeds=(mine, other)))
        files += (*first.summaries, *second.summaries)
        settings = settings or differing_settings((ours, first), (theirs, second))
    return MethodDifference(
        first=escaped(str(ours.path), 4096),
        second=escaped(str(theirs.path), 4096),
        settings=settings,
        pairs=tuple(pairs),
        measures=(
            _measure("test loss", pairs, lambda peer: (peer.first_loss, peer.second_loss)),
            _measure("perplexity", pairs, lambda peer: (peer.first_perplexity, peer.second_perplexity)),
        ),
        files=tuple(files),
    )


def _measure(
    name: str, pairs: Sequence[RunPair], values: Callable[[PeerChange], tuple[float, float]]
) -> MeasureDifference:
    """Statistics of one measure. Runs are the independent draws, so peers of a run are averaged before the test."""
    first = [mean([values(peer)[0] for peer in pair.peers]) for pair in pairs]
    second = [mean([values(peer)[1] for peer in pair.peers]) for pair in pairs]
    found = paired([b - a for a, b in zip(first, second, strict=True)])
    return MeasureDifference(
        name=name,
        first=mean(first),
        second=mean(second),
        n=found.n,
        mean=found.mean,
        std=found.std,
        low=found.low,
        high=found.high,
        t_p=found.t_p,
        wilcoxon_p=found.wilcoxon_p,
        verdict=verdict(found),
    )
