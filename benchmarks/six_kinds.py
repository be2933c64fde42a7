"""Six kinds of text that have little in common, for peers that should gain nothing from each other.

Three languages, English prose, Java, and Python. The Python text is the standard library of the interpreter that runs
this, so that it needs no download. From a folder (`corpora.py`) the base reads Dolly as general English; with
`--data embedded` it reads one half of the embedded English text, and the kind "prose" is the other half.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Final

from corpora import (
    EMBEDDED,
    Block,
    Corpus,
    Source,
    a_block_each,
    blocks_of_lines,
    divided,
    dolly,
    java,
    languages,
    text_of,
    wikipedia,
)

from gossipllm.base import corpus_file

_SMALL_BLOCK: Final = 2_000
"""Characters of consecutive lines that stay together, of the embedded texts. Guess."""
_PYTHON_BYTES: Final = 2_000_000
"""Enough of the standard library for a base and some peers."""


def six_kinds(data: Path) -> Corpus:
    """Raises `UserMistake` where a file is missing."""
    if data == EMBEDDED:
        source = Source(
            published="six kinds, embedded",
            users_low=6,
            users_high=6,
            train_tokens=8_192,
            read_english=lambda _: _english()[0::2],
            read=lambda _: _embedded() | {"prose": _english()[1::2]},
        )
    else:
        source = Source(
            published="six kinds",
            users_low=6,
            users_high=6,
            train_tokens=20_480,
            read_english=dolly,
            read=lambda folder: (
                languages(folder)
                | {
                    "prose": wikipedia(folder),
                    "java": java(folder / "codewiki" / "java.txt"),
                    "python": _python(),
                }
            ),
        )
    return divided("six-kinds", source, data)


def _embedded() -> dict[str, list[Block]]:
    kinds = {name: _lines(name) for name in ("de", "fr", "it", "java")}
    return kinds | {"python": _python()}


def _english() -> list[Block]:
    return _lines("en")


def _lines(name: str) -> list[Block]:
    return blocks_of_lines(text_of(corpus_file(name)), size=_SMALL_BLOCK)


def _python() -> list[Block]:
    """A module is a document."""
    documents: list[str] = []
    size = 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if size < _PYTHON_BYTES:
            documents.append(file.read_text(encoding="utf-8", errors="replace"))
            size += len(documents[-1])
    return a_block_each(documents)
