"""An evaluation on plain text for a terminal: one line a model, because a peer may have many neighbours."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gossipllm.tasks.results import Evaluation
from trust.names import short_names

_NAME_WIDTH = 20


def print_listing(report: Evaluation, console: Console) -> None:
    names = short_names([(str(i), one.name) for i, one in enumerate(report.results)], _NAME_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(Text(f"text, {report.examples:,} documents"), no_wrap=True)
    for head in ("perplexity", "bits per byte", "tokens"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in zip(names, report.results, strict=True):
        scores = one.scores
        table.add_row(
            Text(name),
            _number(scores["perplexity"], 2),
            _number(scores["bits_per_byte"], 3),
            f"{scores['tokens']:,.0f}",
        )
    console.print(table)
    console.print()
    console.print(Text("of all tokens; less is better", style="dim"))


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else "?"
