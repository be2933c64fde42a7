"""The records of a file of JSON, of lines of JSON, of a table or of Parquet, each with its place."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

from gossipllm.text.reading.account import shown
from gossipllm.text.reading.contents import UnreadableFileError
from gossipllm.text.reading.files import MOST_BYTES, Format
from gossipllm.text.reading.json_values import JsonError, json_value
from gossipllm.text.reading.messages import UnknownRecordError
from gossipllm.text.reading.records import is_conversation, read_record

_DELIMITERS: Final = ",;\t|"


@dataclass(frozen=True, slots=True)
class Found:
    """A value that should be a record. `where` is its place for messages; `problem` says why there is no value."""

    where: str
    value: Any = None
    problem: str = ""
    mended: int = 0
    """Halves of characters that became U+FFFD."""


def records_of(text: str, path: Path, format_: Format) -> Iterator[Found]:
    """The records of a text file, in their order. Raises `UnreadableFileError`, perhaps after some of them."""
    match format_:
        case Format.JSON_LINES:
            yield from _lines(text, path)
        case Format.JSON:
            yield from _json(text, path)
        case Format.TABLE:
            yield from _table(text, path)
        case Format.PROSE | Format.PARQUET:
            raise ValueError(f"{format_} has no records as text")


def parquet_records(data: bytes, path: Path) -> Iterator[Found]:
    """The rows of a Parquet file. Raises `UnreadableFileError`, also where pyarrow is not installed."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UnreadableFileError(
            "can only be read with pyarrow, which is not installed: pip install pyarrow"
        ) from None
    number = 0
    try:
        for batch in parquet.ParquetFile(io.BytesIO(data)).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield Found(f"{shown(path)}, row {number}", row)
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"is damaged: {' '.join(str(error).split())[:200]}") from None


def _lines(text: str, path: Path) -> Iterator[Found]:
    # Only "\n" ends a line here: JSON strings may hold U+2028 and its like unescaped.
    place, start = shown(path), 0
    for number in count(1):
        end = text.find("\n", start)
        line = text[start:] if end < 0 else text[start:end]
        if line.strip():
            yield _decoded(line, f"{place}:{number}")
        if end < 0:
            return
        start = end + 1


def _decoded(line: str, where: str) -> Found:
    try:
        value, mended = json_value(line)
    except JsonError as error:
        return Found(where, problem=str(error))
    return Found(where, value, mended=mended)


def _json(text: str, path: Path) -> Iterator[Found]:
    try:
        value, mended = json_value(text)
    except JsonError as error:
        if _begins_with_a_record(text):
            yield from _lines(text, path)
            return
        raise UnreadableFileError(f"is no JSON: {error}") from None
    if isinstance(value, dict):
        value = _listed(cast("dict[str, Any]", value))
    if not isinstance(value, list) or is_conversation(cast("list[Any]", value)):
        yield Found(shown(path), value, mended=mended)
        return
    for number, one in enumerate(cast("list[Any]", value), start=1):
        # The halves are counted where the file's first record is.
        yield Found(f"{shown(path)}, record {number}", one, mended=mended if number == 1 else 0)


def _begins_with_a_record(text: str) -> bool:
    """Whether the file holds a record on each line, though its name says that it holds one value."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return bool(rest.strip()) and isinstance(json_value(first)[0], dict)
    except JsonError:
        return False


def _listed(value: dict[str, Any]) -> Any:
    """The one list that an object holds, where the object itself is no record: {"data": [...]}."""
    try:
        if read_record(value) is not None:
            return value
    except UnknownRecordError:
        lists = [cast("list[Any]", one) for one in value.values() if isinstance(one, list)]
        filled = [one for one in lists if one]
        if len(filled) == 1:
            return filled[0]
    return value


def _table(text: str, path: Path) -> Iterator[Found]:
    header = text.lstrip("\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    # A cell may be as long as its file; Python's limit is 128 kB.
    csv.field_size_limit(MOST_BYTES)
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            # A quote that is never closed takes in the rest of the file.
            raise UnreadableFileError(f"line {first}: {error}") from None
        if row is None:
            return
        # Excess cells are under None, and missing ones are None.
        whole = None not in cast("dict[Any, Any]", row) and None not in row.values()
        problem = "" if whole else "not as many cells as columns"
        yield Found(f"{shown(path)}:{rows.line_num}", row, problem)
