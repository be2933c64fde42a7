"""The command `gossipllm vector negate`."""

from __future__ import annotations

from pathlib import Path

import click

from gossipllm.vectors.arithmetic import Combination, combined
from gossipllm.vectors.folder import write_folder
from peers.commands.vector.combine import told
from peers.commands.vector.reading import read_vectors

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("path", metavar="VECTOR", type=_FOLDER)
@click.option("-o", "--out", required=True, metavar="OUT", type=_FOLDER, help="PEFT folder to write.")
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How far to go the other way.",
)
@click.option("--force", is_flag=True, help="Write into OUT although it is not empty.")
def negate(path: Path, out: Path, scale: float, force: bool) -> None:
    """Write VECTOR with the opposite sign: added to its base, it makes the model worse at what it learned.

    This is how task arithmetic forgets. Measure what else is lost: gossipllm eval.

    \b
    Example:
      gossipllm vector negate rude/ -o polite --scale 0.5
    """
    vectors = read_vectors([path], "VECTOR")
    result = combined(vectors, [-1.0], Combination(scale=scale))
    write_folder(out, result, vectors, f"-{scale:g} {vectors[0].name}", overwrite=force)
    click.echo(told(out, result.rank, result.error.share))
