"""An evaluation for a terminal and as JSON: one column a model, one line a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gossipllm.tasks.examples import Choose, Example, Generate
from gossipllm.tasks.scoring import EvaluationScores
from trust.names import escaped, short_names

SCHEMA: Final = 1
_NAME_WIDTH: Final = 20
_SHOWN: Final = 1000
"""Characters that are shown of a context or an answer."""
_LABELS: Final = {
    "rouge": "ROUGE",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "bertscore": "BERTScore",
    "accuracy": "accuracy",
    "accuracy_by_byte": "accuracy by the byte",
    "perplexity": "perplexity",
    "bits_per_byte": "bits per byte",
    "tokens": "tokens",
}


class ModelScores(msgspec.Struct, frozen=True, kw_only=True):
    """What one model reached. `adapter` is its folder or home, null for the base alone."""

    name: str
    adapter: str | None
    scores: dict[str, float]
    cut: int
    seconds: float


class ExampleAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """One example, and what each model made of it, in the order of the results."""

    context: str
    expected: tuple[str, ...]
    answers: tuple[str, ...]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `examples` counts documents where the task is text."""

    schema: int = SCHEMA
    task: str
    data: str
    pair: str
    model: str
    examples: int
    metrics: tuple[str, ...]
    new_tokens: int
    results: tuple[ModelScores, ...]
    signatures: dict[str, str]
    versions: dict[str, str]
    shown: tuple[ExampleAnswers, ...] = ()


def shown(
    examples: Sequence[Example], measured: Sequence[EvaluationScores], count: int
) -> tuple[ExampleAnswers, ...]:
    """The first `count` examples, where anything was answered."""
    if not all(one.answers for one in measured):
        return ()
    return tuple(
        ExampleAnswers(
            context=one.context, expected=_expected(one), answers=tuple(each.answers[i] for each in measured)
        )
        for i, one in enumerate(examples[:count])
    )


def json_of(report: Evaluation) -> str:
    """Numbers that are not finite are null."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def print_report(report: Evaluation, console: Console) -> None:
    names = short_names([(str(i), one.name) for i, one in enumerate(report.results)], _NAME_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(Text(f"{report.task}, {report.examples:,} {_unit(report)}"), no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for score in report.results[0].scores:
        table.add_row(_LABELS[score], *(_number(score, one.scores[score]) for one in report.results))
    table.add_row(Text("seconds", style="dim"), *(f"{one.seconds:.0f}" for one in report.results))
    console.print(table)
    for one in report.shown:
        _print_example(one, names, console)
    console.print()
    for note in _notes(report):
        console.print(Text(note, style="dim"))


def _unit(report: Evaluation) -> str:
    return "documents" if report.task == "text" else "examples"


def _number(score: str, value: float) -> str:
    if not math.isfinite(value):
        return "?"
    match score:
        case "tokens":
            return f"{value:,.0f}"
        case "bits_per_byte":
            return f"{value:.3f}"
        case _:
            return f"{value:.2f}"


def _notes(report: Evaluation) -> list[str]:
    scores = report.results[0].scores
    notes: list[str] = []
    if any(name not in ("perplexity", "bits_per_byte", "tokens") for name in scores):
        notes.append("per cent, more is better, but for perplexity and bits per byte")
    if "perplexity" in scores:
        what = "all tokens" if report.task == "text" else "the expected answers"
        notes.append(f"perplexity, bits per byte: of {what}; less is better")
    notes += [f"{_LABELS.get(name, name)}: {words}" for name, words in report.signatures.items()]
    cut = max(one.cut for one in report.results)
    if cut:
        notes.append(
            f"{cut:,} did not fit into the model's context and were cut, contexts from their beginning"
        )
    return notes


def _print_example(one: ExampleAnswers, names: Sequence[str], console: Console) -> None:
    console.print()
    console.print(Text(_printable(one.context), style="dim"))
    for name, answer in (*zip(names, one.answers, strict=True), ("expected", one.expected[0])):
        console.print(Text(f"{name}: ", style="bold").append(_printable(answer), style="not bold"))


def _printable(text: str) -> str:
    """What a model writes may hold anything; only its line ends mean something to a terminal."""
    return "\n".join(escaped(line, _SHOWN) for line in text[:_SHOWN].split("\n"))


def _expected(example: Example) -> tuple[str, ...]:
    match example:
        case Generate():
            return example.references
        case Choose():
            return (example.choices[example.right],)
