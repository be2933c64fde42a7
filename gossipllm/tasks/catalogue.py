"""The tasks by name, and samples to train on from their files. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from gossipllm.tasks.choices import GlueTask, read_copa, read_ethos, read_glue
from gossipllm.tasks.examples import Example, prompt_targets
from gossipllm.tasks.readers import read_e2e, read_instructions, read_summaries
from gossipllm.tasks.translation import read_translation
from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.samples import encoded, fitted
from trust.errors import UserMistake

TaskName = Literal["e2e", "instructions", "xlsum", "translation", "copa", GlueTask, "ethos", "text"]
Metric = Literal["rouge", "bleu", "chrf", "bertscore", "accuracy", "perplexity"]

_WRITTEN: Final[tuple[Metric, ...]] = ("rouge", "bleu", "chrf", "bertscore", "perplexity")
_CHOSEN: Final[tuple[Metric, ...]] = ("accuracy", "perplexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What can be measured on a task, and how long its answers are."""

    metrics: tuple[Metric, ...]
    """Metrics that are computed by default."""

    possible: tuple[Metric, ...]
    """Metrics that can be computed."""

    one_line: bool = False
    """Whether an answer ends at the end of its line."""

    new_tokens: int = 0
    """Default length of the longest answer, in tokens; 0 where no answers are written. Guess: nearly all references
    are shorter, except those of instructions."""


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
    "xlsum": Task(
        metrics=("rouge", "perplexity"),
        possible=_WRITTEN,
        one_line=True,
        new_tokens=96,
    ),
    "translation": Task(
        metrics=("bleu", "chrf", "perplexity"),
        possible=_WRITTEN,
        one_line=True,
        new_tokens=128,
    ),
    "copa": Task(metrics=_CHOSEN, possible=_CHOSEN),
    "cola": Task(metrics=_CHOSEN, possible=_CHOSEN),
    "sst2": Task(metrics=_CHOSEN, possible=_CHOSEN),
    "mrpc": Task(metrics=_CHOSEN, possible=_CHOSEN),
    "rte": Task(metrics=_CHOSEN, possible=_CHOSEN),
    "ethos": Task(metrics=_CHOSEN, possible=_CHOSEN),
    "text": Task(metrics=("perplexity",), possible=("perplexity",)),
}


@dataclass(frozen=True, slots=True)
class SampleSource:
    """A file of a task. `pair` is the pair of languages of a translation, as "en-fr", and empty for other tasks."""

    task: TaskName
    pair: str
    path: Path


def sample_source(source: str) -> SampleSource | None:
    """The task and file that "e2e:PATH" or another task's name names, or "translation:en-fr:PATH"; None for a source of
    plain text. Reads no file. Raises `UserMistake` where the path is missing."""
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
    """All samples of a file, in its order, each cut to at most `longest` tokens. Raises `UserMistake`."""
    examples = read_examples(source, tokenizer, key=key)
    return tuple(fitted(one, longest) for one in encoded(prompt_targets(examples), tokenizer))


def read_examples(source: SampleSource, tokenizer: Any, *, key: str) -> tuple[Example, ...]:
    """The examples of a file, in its order. `key` is the setting or flag that named the file, for error messages."""
    found = source.path.is_file() or (source.task == "translation" and source.path.is_dir())
    if not found:
        raise UserMistake(f"{key}: there is no file {source.path}")
    match source.task:
        case "e2e":
            return read_e2e(source.path, key)
        case "instructions":
            return read_instructions(source.path, key, tokenizer)
        case "xlsum":
            return read_summaries(source.path, key)
        case "translation":
            return read_translation(source.path, key, source.pair)
        case "copa":
            return read_copa(source.path, key)
        case "cola" | "sst2" | "mrpc" | "rte":
            return read_glue(source.path, key, source.task)
        case "ethos":
            return read_ethos(source.path, key)
        case "text":
            raise ValueError("plain text has no examples")
