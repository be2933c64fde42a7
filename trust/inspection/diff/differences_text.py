"""Prints the differences between two runs in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trust.inspection.diff.differences import BytesChange, Differences, MethodDifference, RunPair
from trust.inspection.diff.measures_text import (
    NAME_WIDTH,
    losses,
    overview,
    plain_table,
    range_text,
)
from trust.inspection.diff.significance import mean
from trust.inspection.drawing.numbers import number_text
from trust.inspection.reading.naming import listed
from trust.inspection.reading.traffic import bytes_text
from trust.inspection.reading.unread import unread_lines
from trust.names import short_names

_MOST_WEIGHTS = 8
"""Changes of weights that are printed; the JSON document has all of them."""


def print_differences(found: Differences, console: Console) -> None:
    """Print the differences, never wider than the console; without a terminal, or with NO_COLOR, without colour."""
    for number, comparison in enumerate(found.comparisons):
        if number:
            console.print()
            console.rule(characters="─", style="dim")
            console.print()
        _print_comparison(comparison, console)
    if len(found.comparisons) > 1:
        console.print()
        console.rule(characters="─", style="dim")
        console.print()
        _print_part("Test loss of all methods, nats per token", overview(found.comparisons), console)


def _print_comparison(comparison: MethodDifference, console: Console) -> None:
    console.print(Text(f"A  {comparison.first}"))
    console.print(Text(f"B  {comparison.second}"))
    if text := _paired_text(comparison.pairs):
        console.print(Text(text, style="dim"))
    for title, body in (
        ("Settings that differ", _settings(comparison)),
        ("Test loss after the last merge, nats per token", losses(comparison)),
        ("Trust: changes of weights, per cent", _weights(comparison)),
        ("Bytes of the whole run, all peers", _bytes(comparison)),
    ):
        console.print()
        _print_part(title, body, console)
    for text in unread_lines(comparison.files):
        console.print()
        console.print(Text(text, style="dim"))


def _print_part(title: str, body: Sequence[Table | Text], console: Console) -> None:
    console.print(Text(title, style="bold"))
    for part in body:
        console.print(part)


def _paired_text(pairs: Sequence[RunPair]) -> str:
    seeds = [(pair.first_seed, pair.second_seed) for pair in pairs if pair.first_seed is not None]
    if not seeds:
        return ""
    if len(seeds) == 1 and seeds[0][0] != seeds[0][1]:
        return f"seed {seeds[0][0]} against seed {seeds[0][1]}: not the same draws"
    return f"paired by seed: {', '.join(str(seed) for seed, _ in seeds)}"


def _settings(comparison: MethodDifference) -> list[Table | Text]:
    if not comparison.settings:
        return [Text("none that the folders record")]
    body: list[Table | Text] = []
    both = [
        setting for setting in comparison.settings if setting.first is not None and setting.second is not None
    ]
    if both:
        table = plain_table()
        table.add_column("", no_wrap=True)
        for head in ("A", "B"):
            table.add_column(head, overflow="fold")
        for setting in both:
            table.add_row(Text(setting.name), Text(setting.first or ""), Text(setting.second or ""))
        body.append(table)
    # A run of an earlier version lacks all settings added since: too many to list each with its value.
    for side, lacking in (("A", "second"), ("B", "first")):
        if alone := [setting.name for setting in comparison.settings if getattr(setting, lacking) is None]:
            body.append(Text(f"only {side} has: {listed(alone, 8)}", style="dim"))
    return body


def _weights(comparison: MethodDifference) -> list[Table | Text]:
    rounds = {pair.round for pair in comparison.pairs if pair.round is not None}
    norms = [pair.frobenius for pair in comparison.pairs if pair.frobenius is not None]
    moved = [pair.moved for pair in comparison.pairs if pair.moved is not None]
    if not norms:
        return [Text("no round was recorded by most peers on both sides")]
    rows = sum(pair.rows for pair in comparison.pairs)
    summary = Text(
        f"round {range_text(rounds)}, {rows} row{'' if rows == 1 else 's'}: "
        f"Frobenius norm {number_text(mean(norms), '.3f')}, {number_text(100 * mean(moved), '.1f')} % of a row moved"
    )
    changes = _mean_changes(comparison.pairs)[:_MOST_WEIGHTS]
    if not changes:
        return [summary, Text("no weight changed")]
    table = plain_table()
    for head in ("who learns", "from"):
        table.add_column(head, no_wrap=True)
    for head in ("A", "B", "B - A"):
        table.add_column(head, justify="right", no_wrap=True)
    names = list(dict.fromkeys(name for who, whom, *_ in changes for name in (who, whom)))
    short = dict(zip(names, short_names([(name, name) for name in names], NAME_WIDTH), strict=True))
    for who, whom, first, second in changes:
        table.add_row(
            Text(short[who], style="bold"),
            Text("itself" if who == whom else short[whom]),
            number_text(100 * first, ".1f"),
            number_text(100 * second, ".1f"),
            number_text(100 * (second - first), "+.1f"),
        )
    return [summary, table]


def _mean_changes(pairs: Sequence[RunPair]) -> list[tuple[str, str, float, float]]:
    """(who, whom, weight in A, weight in B): means over the pairs of runs that compare the row of `who`, the largest
    difference first."""
    rows = Counter(who for pair in pairs for who in {change.who for change in pair.weights})
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for change in (change for pair in pairs for change in pair.weights):
        first, second = sums.get((change.who, change.whom), (0.0, 0.0))
        sums[change.who, change.whom] = first + change.first, second + change.second
    means = [(who, whom, a / rows[who], b / rows[who]) for (who, whom), (a, b) in sums.items() if a != b]
    return sorted(means, key=lambda row: -abs(row[3] - row[2]))


def _bytes(comparison: MethodDifference) -> list[Table | Text]:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for change in (change for pair in comparison.pairs for change in (*pair.bytes, *_totals(pair.bytes))):
        first, second = sums.get((change.way, change.kind), (0, 0))
        sums[change.way, change.kind] = first + change.first, second + change.second
    if not sums:
        return [Text("not recorded")]
    table = plain_table()
    for head in ("", "kind"):
        table.add_column(head, no_wrap=True)
    for head in ("A", "B", "B / A"):
        table.add_column(head, justify="right", no_wrap=True)
    for (way, kind), (first, second) in sorted(sums.items(), reverse=True):
        ratio = f"{second / first:.2f}" if first else ""
        sizes = (bytes_text(value / len(comparison.pairs)) for value in (first, second))
        table.add_row(way, Text(kind or "all", style="" if kind else "bold"), *sizes, ratio)
    return [table]


def _totals(changes: Sequence[BytesChange]) -> list[BytesChange]:
    """Bytes of all kinds together, as a kind without a name."""
    return [
        BytesChange(
            way=way,
            kind="",
            first=sum(change.first for change in changes if change.way == way),
            second=sum(change.second for change in changes if change.way == way),
        )
        for way in dict.fromkeys(change.way for change in changes)
    ]
