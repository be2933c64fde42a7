"""The results of an evaluation as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gossipllm.tasks.results import Evaluation, ExampleAnswers
from trust.counting import counted
from trust.names import escaped, short_names

_NAME_WIDTH: Final = 20
_SHOWN: Final = 1000
"""Most characters of a prompt or an answer that are shown."""
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


def print_table(evaluation: Evaluation, console: Console) -> None:
    """A column for each model and a line for each score, the answers to show, and how the scores were computed."""
    names = short_names([(str(i), one.name) for i, one in enumerate(evaluation.results)], _NAME_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(Text(f"{evaluation.task}, {evaluation.examples:,} {_unit(evaluation)}"), no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for score in evaluation.results[0].scores:
        table.add_row(_LABELS[score], *(_number(score, one.scores[score]) for one in evaluation.results))
    table.add_row(Text("seconds", style="dim"), *(f"{one.seconds:.0f}" for one in evaluation.results))
    console.print(table)
    for one in evaluation.shown:
        _print_example(one, names, console)
    console.print()
    for note in _notes(evaluation):
        console.print(Text(note, style="dim"))


def print_list(evaluation: Evaluation, console: Console) -> None:
    """An evaluation on plain text with a line for each model, because a peer may have many neighbours."""
    names = short_names([(str(i), one.name) for i, one in enumerate(evaluation.results)], _NAME_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(Text(f"text, {evaluation.examples:,} documents"), no_wrap=True)
    for head in ("perplexity", "bits per byte", "tokens"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in zip(names, evaluation.results, strict=True):
        scores = one.scores
        table.add_row(
            Text(name),
            _decimal(scores["perplexity"], 2),
            _decimal(scores["bits_per_byte"], 3),
            f"{scores['tokens']:,.0f}",
        )
    console.print(table)
    console.print()
    console.print(Text(f"of {_measured_text(evaluation)}; less is better", style="dim"))


def _unit(evaluation: Evaluation) -> str:
    return "documents" if evaluation.task == "text" else "examples"


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


def _notes(evaluation: Evaluation) -> list[str]:
    scores = evaluation.results[0].scores
    notes: list[str] = []
    if any(name not in ("perplexity", "bits_per_byte", "tokens") for name in scores):
        notes.append("per cent, more is better, but for perplexity and bits per byte")
    if "perplexity" in scores:
        what = _measured_text(evaluation) if evaluation.task == "text" else "the expected answers"
        notes.append(f"perplexity, bits per byte: of {what}; less is better")
    notes += [f"{_LABELS.get(name, name)}: {words}" for name, words in evaluation.signatures.items()]
    cut = max(one.cut for one in evaluation.results)
    if cut:
        notes.append(
            f"{cut:,} did not fit into the model's context and were cut, prompts from their beginning"
        )
    return notes


def _measured_text(evaluation: Evaluation) -> str:
    if not evaluation.answered:
        return "all tokens"
    answers = f"the answers in {counted(evaluation.answered, 'conversation')}, as in training"
    others = evaluation.examples > evaluation.answered
    return f"{answers}{', and all tokens of other documents' if others else ''} (of all: --loss all)"


def _print_example(one: ExampleAnswers, names: Sequence[str], console: Console) -> None:
    console.print()
    console.print(Text(_printable(one.prompt), style="dim"))
    for name, answer in (*zip(names, one.answers, strict=True), ("expected", one.expected[0])):
        console.print(Text(f"{name}: ", style="bold").append(_printable(answer), style="not bold"))


def _printable(text: str) -> str:
    """`text` with everything but line ends escaped that a terminal would act on, because a model may write anything."""
    return "\n".join(escaped(line, _SHOWN) for line in text[:_SHOWN].split("\n"))


def _decimal(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else "?"
