"""The texts of a scenario: sources to documents, documents to categories, categories to peers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gossipllm import base as embedded
from gossipllm.mistakes import UserMistake
from gossipllm.text.data import demo_share
from gossipllm.text.partitions import Category, PartitionConfig, categorised
from gossipllm.text.sources import read_documents, source_files
from sim.methods import suggestion

_EMBEDDED: Final = "embedded:"


def load_categories(sources: Sequence[str], tokenizer: Any, config: PartitionConfig) -> tuple[Category, ...]:
    """One category for each source, in their order. Raises `UserMistake`."""
    names = category_names(sources)
    texts = {name: _documents(source, tokenizer) for name, source in zip(names, sources, strict=True)}
    return categorised(texts, tokenizer, config)


def category_names(sources: Sequence[str]) -> tuple[str, ...]:
    """A short name of each: of an embedded text its own, of a file or folder the last part of its path."""
    names = [
        source.removeprefix(_EMBEDDED) if source.startswith(_EMBEDDED) else Path(source).stem or source
        for source in sources
    ]
    return tuple(
        name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, start=1)
    )


def check_sources(sources: Sequence[str]) -> str:
    """A digest of all that the sources hold, or `UserMistake` where one is missing. Reads files, no library."""
    seen = hashlib.sha256()
    for source in sources:
        for file in (
            [embedded.corpus_file(_name(source))] if source.startswith(_EMBEDDED) else source_files(source)
        ):
            try:
                seen.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise UserMistake(f"data.sources: {file} cannot be read: {error.strerror}") from None
    return seen.hexdigest()


def _documents(source: str, tokenizer: Any) -> list[str]:
    if source.startswith(_EMBEDDED):
        lines = demo_share(_name(source), part=0, of=1).splitlines()
        return [line for line in lines if line.strip()]
    return read_documents(source, tokenizer)


def _name(source: str) -> str:
    name = source.removeprefix(_EMBEDDED)
    if name not in embedded.CORPORA:
        raise UserMistake(f"data.sources: no embedded text {name!r}, {suggestion(name, embedded.CORPORA)}")
    return name
