"""The command `gossipllm vector compare`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from gossipllm.learning.merging.averages import F64
from gossipllm.vectors.arithmetic import cosines, inner_products
from gossipllm.vectors.vector import TaskVector
from peers.commands.vector.reading import read_vectors
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)
_NOTE = (
    "norm: of what a vector adds to the base's weights. The matrix holds cosines: 1 for vectors that add the same, 0 "
    "for unrelated ones, -1 for opposites."
)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="VECTOR VECTOR...", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (below) instead of a table.")
def compare(paths: tuple[Path, ...], as_json: bool) -> None:
    """Print how large vectors are, and the cosines between them.

    Each VECTOR is a PEFT folder or a peer's home, all of one base. Products are compared, so ranks may differ and
    factors that are rotated count as equal.

    \b
    Example:
      gossipllm vector compare anna/ bert/ french/

    \b
    JSON, schema 1:
      schema
      vectors[]     name, path, rank, modules, norm
      cosines[][]   a row for each vector, in their order
    """
    if len(paths) < 2:
        raise UserMistake("compare needs two vectors or more")
    vectors = read_vectors(paths, "VECTOR")
    inner_VV = inner_products(vectors)
    norms, cosines_VV = np.sqrt(np.diag(inner_VV)), cosines(inner_VV)
    if as_json:
        described = [
            {
                "name": one.name,
                "path": str(path),
                "rank": one.rank,
                "modules": len(one.products),
                "norm": norm,
            }
            for one, path, norm in zip(vectors, paths, norms.tolist(), strict=True)
        ]
        click.echo(json.dumps({"schema": 1, "vectors": described, "cosines": cosines_VV.tolist()}, indent=2))
        return
    console = Console(highlight=False)
    console.print(_table(vectors, norms, cosines_VV))
    console.print(f"\n{_NOTE}", style="dim")


def _table(vectors: Sequence[TaskVector], norms_V: F64, cosines_VV: F64) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("vector", no_wrap=True)
    for name in ("rank", "modules", "norm"):
        table.add_column(name, justify="right", no_wrap=True)
    digits = len(str(len(vectors)))
    for number in range(len(vectors)):
        table.add_column(str(number + 1), justify="right", no_wrap=True)
    for number, (one, norm, row) in enumerate(zip(vectors, norms_V, cosines_VV, strict=True)):
        cells = ("·" if other == number else f"{cosine:.2f}" for other, cosine in enumerate(row))
        table.add_row(
            f"{number + 1:>{digits}} {one.name}", str(one.rank), str(len(one.products)), f"{norm:.3g}", *cells
        )
    return table
