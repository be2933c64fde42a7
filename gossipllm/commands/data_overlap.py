"""The command `gossipllm data overlap`: how far texts overlap in their tokens."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gossipllm.config import EMBEDDED
from gossipllm.text.overlap import F64, as_if_equally_long, between_halves, counts, jaccard, published_overlap
from gossipllm.text.reading.corpus import read_documents
from gossipllm.text.windows import tokenise
from trust.errors import UserMistake
from trust.names import short_names

_NAME_WIDTH: Final = 16
_TOKENS_WIDTH: Final = 11
_HALVES_WIDTH: Final = 8
_CELL_WIDTH: Final = 5
_UNLIKE_LENGTHS: Final = 1.5
"""Ratio of the longest text to the shortest from which a note is printed: the Jaccard index of two such texts cannot
exceed 2/3."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH PATH...")
@click.option(
    "--model",
    default=EMBEDDED,
    show_default=True,
    metavar="NAME",
    help="Model whose tokenizer is used: embedded, a folder, or a name on the Hugging Face hub.",
)
@click.option("--equal", is_flag=True, help="Compare as if all texts were as long as the shortest.")
@click.option(
    "--published",
    is_flag=True,
    help="Divide as Wagner et al. (2024) do, by the tokens of both texts together: at most 0.5.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (below) instead of a table.")
def overlap(paths: tuple[str, ...], model: str, equal: bool, published: bool, as_json: bool) -> None:
    """Print how far texts overlap in their tokens: the Jaccard index, with repetitions counted.

    Each PATH is one text: a file or a folder, as for init --data, as a peer would read it. As a rule, peers
    whose texts overlap more learn more from each other.

    \b
    Examples:
      gossipllm data overlap anna.txt bert.txt notes/
      gossipllm data overlap *.jsonl --equal --model ~/models/gpt2

    \b
    JSON, schema 1 (null where a text is too short to be halved):
      schema, model, equal
      measure         "jaccard", or "published" with --published
      texts[]         path, tokens, halves
      overlap[][]     a row for each text, in the order of texts
    """
    if len(paths) < 2:
        raise UserMistake("overlap compares texts: give two paths or more")
    streams = _streams(paths, model)
    vocabulary = 1 + max(int(stream.max()) for stream in streams)
    counts_NV = np.stack([counts(stream, vocabulary) for stream in streams])
    measure = published_overlap if published else jaccard
    overlap_NN = measure(as_if_equally_long(counts_NV) if equal else counts_NV)
    lengths = [len(stream) for stream in streams]
    halves = [between_halves(stream, vocabulary, measure) for stream in streams]
    if as_json:
        texts = [
            {"path": path, "tokens": length, "halves": None if math.isnan(half) else half}
            for path, length, half in zip(paths, lengths, halves, strict=True)
        ]
        document = {
            "schema": 1,
            "model": model,
            "equal": equal,
            "measure": "published" if published else "jaccard",
            "texts": texts,
            "overlap": overlap_NN.tolist(),
        }
        click.echo(json.dumps(document, indent=2))
        return
    note = _explanation(lengths, equal=equal, published=published)
    _print_table(_names(paths), lengths, halves, overlap_NN, note)


def _streams(paths: tuple[str, ...], model: str) -> list[Any]:
    # Imported here, because it loads transformers: `gossipllm data --help` must answer at once.
    from gossipllm.model.loading.models import load_tokenizer

    tokenizer: Any = load_tokenizer(model, "--model")
    return [tokenise(read_documents(path, tokenizer, key="PATH"), tokenizer) for path in paths]


def _names(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Short names of the texts: the last part of each path, cut; where names would be equal, with the end of the
    folder's path."""
    places = [Path(path).expanduser().resolve() for path in paths]
    return short_names([(str(place.parent), place.name) for place in places], _NAME_WIDTH)


def _print_table(
    names: tuple[str, ...], lengths: list[int], halves: list[float], overlap_NN: F64, note: str
) -> None:
    """Print the matrix and a note below it. A matrix that is wider than the console is printed in several tables, each
    with some of the columns."""
    console = Console(highlight=False)
    # The widths of the columns left of the matrix: number, name, tokens and halves.
    fixed = len(str(len(names))) + 1 + max(map(len, names)) + 2 + _TOKENS_WIDTH + _HALVES_WIDTH
    block = max(1, (console.width - fixed) // _CELL_WIDTH)
    for begin in range(0, len(names), block):
        columns = range(begin, min(begin + block, len(names)))
        console.print(_table(names, lengths, halves, overlap_NN, columns))
        console.print()
    console.print(Text(note, style="dim"))


def _table(
    names: tuple[str, ...], lengths: list[int], halves: list[float], overlap_NN: F64, columns: range
) -> Table:
    table = Table(box=None, padding=0, pad_edge=False, header_style="bold")
    table.add_column("text", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True, width=_TOKENS_WIDTH)
    table.add_column("halves", justify="right", no_wrap=True, width=_HALVES_WIDTH)
    for column in columns:
        table.add_column(str(column + 1), justify="right", no_wrap=True, width=_CELL_WIDTH)
    digits = len(str(len(names)))
    for row, (name, length, half) in enumerate(zip(names, lengths, halves, strict=True)):
        label = Text(f"{row + 1:>{digits}} {name}  ", style="bold")
        cells = ("·" if row == column else _cell(overlap_NN[row, column]) for column in columns)
        table.add_row(label, f"{length:,}", _cell(half), *cells)
    return table


def _cell(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.2f}"


def _explanation(lengths: list[int], *, equal: bool, published: bool) -> str:
    """The note below the table: what its numbers are, and what limits them."""
    whole = "the tokens of both together" if published else "all that either has"
    most = "0.5" if published else "1"
    text = (
        f"Tokens that two texts have in common, over {whole}, repetitions counted: {most} for the same tokens "
        "equally often, 0 for none in common.\nhalves: the same between two halves of one text, about the most "
        "that another text of its kind and length can reach."
    )
    ratio = max(lengths) / min(lengths)
    if equal:
        text += "\nCounts are scaled to the shortest text; halves are not."
    elif ratio > _UNLIKE_LENGTHS:
        text += (
            f"\nThe longest text is {ratio:.1f} times the shortest, so that these two cannot exceed "
            f"{1 / (1 + ratio if published else ratio):.2f}: add --equal to compare as if all were as long."
        )
    return text
