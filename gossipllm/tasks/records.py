"""Records of task files: lines of JSON, and rows of tables. Each comes with its place as `file:line`.

Everything raises `UserMistake` that names the place and what is wrong; `key` is the setting or flag that named the
file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gossipllm.text.reading.account import shown
from gossipllm.text.reading.contents import read_text
from gossipllm.text.reading.json_values import JsonError, json_value
from trust.errors import UserMistake

T = TypeVar("T")


def json_lines(file: Path, key: str, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Each record of a .jsonl file. Blank lines are skipped."""
    # Only "\n" ends a line here: JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(read_text(file, key).split("\n"), start=1):
        if line.strip():
            where = f"{shown(file)}:{number}"
            try:
                yield where, msgspec.convert(json_value(line)[0], kind)
            except (JsonError, msgspec.ValidationError) as error:
                raise UserMistake(f"{where}: {error}") from None


def csv_rows(
    file: Path, key: str, columns: Sequence[str], *, delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row below the line that names the columns, in which a quoted cell may span lines."""
    rows = csv.DictReader(io.StringIO(read_text(file, key), newline=""), strict=True, delimiter=delimiter)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            # The line where the row begins: a quote that is never closed takes in the rest of the file.
            raise UserMistake(f"{shown(file)}:{rows.line_num + 1}: {error}") from None
        _check_columns(rows.fieldnames or (), columns, file)
        if row is None:
            return
        where = f"{shown(file)}:{rows.line_num}"
        if None in row or None in row.values():
            raise UserMistake(f"{where}: not as many cells as columns")
        yield where, row


def tsv_rows(
    file: Path, key: str, columns: Sequence[str], *, header: bool = True
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each line of a .tsv file, in which quotes mean nothing, as in GLUE's files. Blank lines are skipped.

    Without `header`, the cells of every line are those of `columns`, in their order.
    """
    lines = enumerate(read_text(file, key).split("\n"), start=1)
    names = next(lines)[1].rstrip("\r").split("\t") if header else columns
    _check_columns(names, columns, file)
    for number, line in lines:
        if line.strip():
            cells = line.rstrip("\r").split("\t")
            where = f"{shown(file)}:{number}"
            if len(cells) != len(names):
                raise UserMistake(f"{where}: {len(cells)} cells, not {len(names)}")
            yield where, dict(zip(names, cells, strict=True))


def some(found: list[Any], file: Path) -> list[Any]:
    """`found`, which must hold something."""
    if not found:
        raise UserMistake(f"{shown(file)} holds no examples")
    return found


def _check_columns(names: Sequence[str], columns: Sequence[str], file: Path) -> None:
    missing = [column for column in columns if column not in names]
    if missing:
        raise UserMistake(
            f"{shown(file)}:1: no column {' nor '.join(missing)}; the first line names the columns"
        )
