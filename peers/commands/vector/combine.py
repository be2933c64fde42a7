"""The command `gossipllm vector combine`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import click

from gossipllm.vectors.arithmetic import Combination, Method, combined
from gossipllm.vectors.folder import write_folder
from peers.commands.vector.reading import read_vectors, weights_of
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="VECTOR...", type=_FOLDER)
@click.option("-o", "--out", required=True, metavar="OUT", type=_FOLDER, help="PEFT folder to write.")
@click.option(
    "-w", "--weights", metavar="W,W", help="A weight for each VECTOR; below 0 subtracts.  [default: 1 each]"
)
@click.option(
    "-m", "--method", type=click.Choice(get_args(Method)), default="sum", show_default=True, help="See above."
)
@click.option(
    "--density",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the entries of a vector that ties and dare keep.",
)
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on the result.")
@click.option(
    "--rank",
    metavar="R",
    help="Rank of the result, or exact: as much as a sum needs.  [default: the largest of the vectors]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of what dare drops.")
@click.option("--force", is_flag=True, help="Write into OUT although it is not empty.")
def combine(
    paths: tuple[Path, ...],
    out: Path,
    weights: str | None,
    method: Method,
    density: float,
    scale: float,
    rank: str | None,
    seed: int,
    force: bool,
) -> None:
    """Add vectors with weights, and write the result as a PEFT folder.

    Each VECTOR is a PEFT folder or a peer's home, all of one base; ranks may differ. Products are added, not
    factors, so the result is exact but for what its rank cuts off, which is printed.

    \b
    sum        the weighted sum
    ties       of each vector its largest entries; the heavier sign wins
    dare       of each vector entries by chance, scaled up; then the sum
    dare-ties  entries by chance, then the heavier sign

    \b
    Examples:
      gossipllm vector combine french/ law/ -o french-law
      gossipllm vector combine a/ b/ c/ --method ties -o abc
      gossipllm vector combine b/ a/ c/ --weights 1,-1,1 -o d
    """
    vectors = read_vectors(paths, "VECTOR")
    numbers = weights_of(weights, len(vectors))
    if not math.isfinite(scale):
        raise UserMistake(f"--scale must be finite, got {scale}")
    how = Combination(method=method, density=density, scale=scale, seed=seed)
    result = combined(vectors, numbers, how, _rank(rank))
    terms = (
        f"{'+-'[weight < 0]} {abs(weight):g} {one.name}" for weight, one in zip(numbers, vectors, strict=True)
    )
    summed = " ".join(terms).removeprefix("+ ")
    settings = "" if method == "sum" else f", {method} with a density of {density:g}"
    scaled = "" if scale == 1 else f", times {scale:g}"
    write_folder(out, result, vectors, f"{summed}{settings}{scaled}", overwrite=force)
    click.echo(told(out, result.rank, result.error.share))


def told(out: Path, rank: int, lacks: float) -> str:
    """What is printed of a written vector."""
    return f"{out}: rank {rank}, lacks {lacks:.2%} of the norm of the exact result"


def _rank(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "exact":
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= 4096:
        raise UserMistake(f"--rank must be in 1..4096 or exact, got {text!r}")
    return int(text)
