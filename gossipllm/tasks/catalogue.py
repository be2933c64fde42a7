"""The tasks by name, and samples to train on from their files. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from gossipllm.tasks.examples import Example, pairs
from gossipllm.tasks.readers import read_copa, read_e2e, read_instructions, read_translation
from gossipllm.text.categories import Tokens
from gossipllm.text.samples import encoded, fitted
from trust.errors import UserMistake

TaskName = Literal["e2e", "instructions", "copa", "translation", "text"]
Metric = Literal["rouge", "bleu", "chrf", "bertscore", "accuracy", "perplexity"]

_WRITTEN: Final[tuple[Metric, ...]] = ("rouge", "bleu", "chrf", "bertscore", "perplexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    metrics: tuple[Metric, ...]
    """What is measured unless something else is asked for."""

    possible: tuple[Metric, ...]
    """What can be measured."""

    one_line: bool = False
    """Whether an answer ends with its line."""

    new_tokens: int = 0
    """Longest answer, in tokens, unless something else is asked for; 0 where none is written. Guess: nearly all
    references are shorter, instructions aside."""


TASKS: Final[dict[TaskName, Task]] = {
    "e2e": Task(
        metrics=("rouge", "bleu", "chrf", "perplexity"),
        possible=_WRITTEN,
        one_line=True,
        new_tokens=96,
    ),
    "instructions": Task(
        metrics=("rouge", "chrf", "perplexity"),
        possible=_WRITTEN,
        new_tokens=192,
    ),
    "copa": Task(metrics=("accuracy", "perplexity"), possible=("accuracy", "perplexity")),
    "translation": Task(
        metrics=("bleu", "chrf", "perplexity"),
        possible=_WRITTEN,
        one_line=True,
        new_tokens=128,
    ),
    "text": Task(metrics=("perplexity",), possible=("perplexity",)),
}


@dataclass(frozen=True, slots=True)
class SampleSource:
    """A file of a task. `pair` is of languages, and empty for tasks that know none."""

    task: TaskName
    pair: str
    path: Path


def sample_source(source: str) -> SampleSource | None:
    """What "e2e:PATH", "instructions:PATH", "copa:PATH" or "translation:en-fr:PATH" stands for; None for a source of
    plain text. Reads nothing."""
    kind, _, rest = source.partition(":")
    for name in TASKS:
        if kind == name != "text":
            pair, _, path = rest.partition(":") if name == "translation" else ("", "", rest)
            if not path:
                form = "translation:en-fr:PATH" if name == "translation" else f"{name}:PATH"
                raise UserMistake(f'"{source}" is no source of samples; write {form}')
            return SampleSource(name, pair, Path(path).expanduser())
    return None


def load_samples(source: SampleSource, tokenizer: Any, *, longest: int, key: str) -> tuple[Tokens, ...]:
    """All samples of a file, of at most `longest` tokens, in its order. Raises `UserMistake`."""
    examples = read_examples(source, tokenizer, key=key)
    return tuple(fitted(one, longest) for one in encoded(pairs(examples), tokenizer))


def read_examples(source: SampleSource, tokenizer: Any, *, key: str) -> tuple[Example, ...]:
    """The examples of a file, in its order. `key` is where the user named it, for complaints."""
    if not source.path.is_file():
        raise UserMistake(f"{key}: there is no file {source.path}")
    match source.task:
        case "e2e":
            return read_e2e(source.path, key)
        case "instructions":
            return read_instructions(source.path, key, tokenizer)
        case "copa":
            return read_copa(source.path, key)
        case "translation":
            return read_translation(source.path, key, source.pair)
        case "text":
            raise ValueError("plain text has no examples")
