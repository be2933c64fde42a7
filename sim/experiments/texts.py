"""The texts of a scenario: sources are read as documents or samples, one category for each source.

embedded:fr, notes.txt, notes/, talks.jsonl      running text, cut into windows
lines:embedded:fr, lines:notes.txt               a sample of each line, all of which bears loss
e2e:PATH, instructions:PATH, copa:PATH, ...      a sample of each question with its answer, which alone bears loss
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gossipllm import base as embedded
from gossipllm.tasks.catalogue import load_samples, sample_source
from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.dealing.partitions import Category, PartitionConfig, categorised
from gossipllm.text.reading.corpus import Document, read_documents
from gossipllm.text.reading.files import source_files
from gossipllm.text.reference import demo_share
from gossipllm.text.samples import PromptTarget, encoded, fitted
from sim.experiments.methods import suggestion
from trust.errors import UserMistake

_EMBEDDED: Final = "embedded:"
_LINES: Final = "lines:"
_KEY: Final = "data.sources"


def are_samples(source: str) -> bool:
    """Whether a source holds samples instead of running text."""
    return source.startswith(_LINES) or sample_source(source) is not None


def load_categories(
    sources: Sequence[str], tokenizer: Any, config: PartitionConfig, *, longest: int
) -> tuple[Category, ...]:
    """One category for each source, in their order; samples have at most `longest` tokens. Raises `UserMistake`."""
    names = category_names(sources)
    if are_samples(sources[0]):
        pieces = [_samples(source, tokenizer, longest) for source in sources]
        return tuple(Category(name, samples) for name, samples in zip(names, pieces, strict=True))
    texts = {name: _documents(source, tokenizer) for name, source in zip(names, sources, strict=True)}
    return categorised(texts, tokenizer, config)


def category_names(sources: Sequence[str]) -> tuple[str, ...]:
    """A short name for each source: an embedded text's own, or the last part of a path."""
    names = [_short(source) for source in sources]
    return tuple(
        name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, start=1)
    )


def check_sources(sources: Sequence[str]) -> str:
    """A digest over the contents of all sources, which loads no tokenizer. Raises `UserMistake` for a missing file."""
    seen = hashlib.sha256()
    for source in sources:
        for file in _files(source.removeprefix(_LINES)):
            try:
                seen.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise UserMistake(f"{_KEY}: {file} cannot be read: {error.strerror}") from None
    return seen.hexdigest()


def _files(source: str) -> Sequence[Path]:
    if source.startswith(_EMBEDDED):
        return [embedded.corpus_file(_name(source))]
    samples = sample_source(source)
    if samples is None:
        return source_files(source, _KEY)
    return sorted(samples.path.iterdir()) if samples.path.is_dir() else [samples.path]


def _short(source: str) -> str:
    what = source.removeprefix(_LINES)
    if what.startswith(_EMBEDDED):
        return what.removeprefix(_EMBEDDED)
    samples = sample_source(what)
    return (Path(what).stem or what) if samples is None else f"{samples.task} {samples.pair}".strip()


def _samples(source: str, tokenizer: Any, longest: int) -> tuple[Tokens, ...]:
    samples = sample_source(source)
    if samples is not None:
        return load_samples(samples, tokenizer, longest=longest, key=_KEY)
    documents = _documents(source.removeprefix(_LINES), tokenizer)
    texts = [one if isinstance(one, str) else one.text for one in documents]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return tuple(
        fitted(one, longest) for one in encoded([PromptTarget("", line) for line in lines], tokenizer)
    )


def _documents(source: str, tokenizer: Any) -> Sequence[str | Document]:
    if source.startswith(_EMBEDDED):
        lines = demo_share(_name(source), part=0, of=1).splitlines()
        return [line for line in lines if line.strip()]
    return read_documents(source, tokenizer, key=_KEY)


def _name(source: str) -> str:
    name = source.removeprefix(_EMBEDDED)
    if name not in embedded.CORPORA:
        raise UserMistake(f"{_KEY}: no embedded text {name!r}, {suggestion(name, embedded.CORPORA)}")
    return name
