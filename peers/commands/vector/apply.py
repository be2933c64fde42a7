"""The command `gossipllm vector apply`."""

from __future__ import annotations

import math
from pathlib import Path

import click

from peers.commands.vector.reading import read_vectors
from trust.counting import counted
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("apply")
@click.argument("path", metavar="VECTOR", type=_FOLDER)
@click.option("-o", "--out", required=True, metavar="OUT", type=_FOLDER, help="Folder of the model to write.")
@click.option(
    "-b",
    "--base",
    metavar="NAME",
    help="The base: embedded, a folder, or a name on the hub.  [default: the one that VECTOR names]",
)
@click.option(
    "-w", "--weight", type=float, default=1.0, show_default=True, help="Factor on VECTOR; below 0 subtracts."
)
@click.option("--force", is_flag=True, help="Write into OUT although it is not empty.")
def apply(path: Path, out: Path, base: str | None, weight: float, force: bool) -> None:
    """Add VECTOR to the weights of its base, and write the whole model.

    AutoModelForCausalLM.from_pretrained(OUT) opens it, and it can be the base of further training.

    \b
    Examples:
      gossipllm vector apply french-law/ -o model
      gossipllm vector apply rude/ --weight -0.5 -b ~/models/tiny -o polite-model
    """
    if not math.isfinite(weight):
        raise UserMistake(f"--weight must be finite, got {weight}")
    (vector,) = read_vectors([path], "VECTOR")
    name = base or vector.base
    if not name:
        raise UserMistake(f"{path} does not say what its base is; name it with --base")
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.vectors.applying import apply as write

    disable_progress_bar()
    write(vector, name, weight, out, overwrite=force)
    click.echo(
        f"{out}: {name} with {weight:g} times {vector.name}, {counted(len(vector.products), 'layer')} changed"
    )
