"""The battery's table, for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.attacks.judging import CellResult, Limits

_WIDEST: Final = 200


def print_results(results: Sequence[CellResult], limits: Limits, console: Console) -> None:
    """A row for each cell. Numbers beyond a limit are red and marked with "!". A narrow console is made wide
    enough for every number."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("attack", "by", "method"):
        table.add_column(name, no_wrap=True)
    for name in ("mean", "worst", "clean", "kept", "weight", "hostile", "lost", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    backdoor = any(one.triggered is not None for one in results)
    if backdoor:
        table.add_column("trigger", justify="right", no_wrap=True)
    for one in results:
        table.add_row(
            one.attack,
            shown_attackers(one.attackers),
            one.method,
            f"{one.mean:.3f}",
            _marked(f"{one.worst:.3f}", "worst" in one.misses),
            f"{one.clean:.3f}",
            _marked("-" if one.kept is None else f"{one.kept:.2f}", "kept" in one.misses),
            _marked(f"{one.weight:.3f}", "weight" in one.misses),
            f"{one.hostile:.3f}",
            f"{one.refused:.0%}",
            str(one.seeds),
            *(["-" if one.triggered is None else f"{one.triggered:.0%}"] if backdoor else []),
        )
    needed = table.__rich_measure__(console, console.options.update(max_width=_WIDEST)).maximum
    console.width = max(console.width, needed)
    console.print(table)
    console.print(Text(legend(limits), style="dim"))
    missing = sum(bool(one.misses) for one in results)
    console.print(f"{len(results) - missing} of {len(results)} within all limits")


def shown_attackers(attackers: float) -> str:
    return f"{attackers:.0%}" if attackers < 1 else f"{attackers:.0f}"


def legend(limits: Limits) -> str:
    return (
        f"by: number of attackers beside the honest peers, or their share of all\n"
        f"mean, worst: test perplexity of honest peers over the same peer alone; worst at most {limits.worst:g}\n"
        f"clean: the mean without an attack; kept: the share of that gain that is left, at least "
        f"{limits.kept_from_one:g} with one attacker and {limits.kept_from_some:g} with 30 %\n"
        f"weight: the largest of all attackers together after three rounds, at most {limits.weight:g}; hostile: of the "
        f"rounds in which they attack\n"
        f"lost: merges that the guard refused; n: seeds; trigger: how often a backdoor works; !: beyond a limit"
    )


def _marked(text: str, missed: bool) -> Text:
    return Text(f"{text} !", style="red") if missed else Text(f"{text}  ")
