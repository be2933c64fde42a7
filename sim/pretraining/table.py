"""The comparison's table, for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.pretraining.arms import PretrainConfig
from sim.pretraining.judging import ArmResult

_WIDEST: Final = 200


def print_results(results: Sequence[ArmResult], config: PretrainConfig, console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("rate", "loss", "worst", "over one", "over each", "sent", "fewer"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in results:
        table.add_row(
            one.name,
            f"{one.rate:g}",
            f"{one.loss:.3f}",
            f"{one.worst:.3f}",
            f"{one.over - 1:+.1%}",
            f"{one.over_each - 1:+.1%}",
            f"{one.sent_bytes / 1e6:.2f} MB" if one.sent_bytes else "-",
            f"{one.fewer:.0f} x" if one.fewer else "-",
            one.about,
        )
    needed = table.__rich_measure__(console, console.options.update(max_width=_WIDEST)).maximum
    console.width = max(console.width, needed)
    console.print(table)
    console.print(Text(legend(config), style="dim"))


def legend(config: PretrainConfig) -> str:
    return (
        f"{config.tokens:,} tokens in every row but alone, where each of {config.peers} peers has its part of them\n"
        "loss: nats a token of test text that nobody trained on, a mean over peers; worst: the largest of a peer\n"
        "rate: of those tried, the one of least loss on the trust splits\n"
        "over one: over the lower loss of one process; over each: over that of averaged gradients, its large batches\n"
        "sent: bytes of a peer, everything counted\n"
        "fewer: than averaging gradients in bfloat16 by a ring in each step"
    )
