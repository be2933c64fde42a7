"""What differs between two runs, for a terminal."""

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
"""Changes of weights that are printed; the document has all."""


def print_differences(found: Differences, console: Console) -> None:
    """Never wider than the console; without a terminal, or with NO_COLOR, the same without colour."""
    for number, one in enumerate(found.comparisons):
        if number:
            console.print()
            console.rule(characters="─", style="dim")
            console.print()
        _print_comparison(one, console)
    if len(found.comparisons) > 1:
        console.print()
        console.rule(characters="─", style="dim")
        console.print()
        _print_part("Test loss of all methods, nats per token", overview(found.comparisons), console)


def _print_comparison(one: MethodDifference, console: Console) -> None:
    console.print(Text(f"A  {one.first}"))
    console.print(Text(f"B  {one.second}"))
    if text := _paired_text(one.pairs):
        console.print(Text(text, style="dim"))
    for title, body in (
        ("Settings that differ", _settings(one)),
        ("Test loss after the last merge, nats per token", losses(one)),
        ("Trust: changes of weights, per cent", _weights(one)),
        ("Bytes of the whole run, all peers", _bytes(one)),
    ):
        console.print()
        _print_part(title, body, console)
    for text in unread_lines(one.files):
        console.print()
        console.print(Text(text, style="dim"))


def _print_part(title: str, body: Sequence[Table | Text], console: Console) -> None:
    console.print(Text(title, style="bold"))
    for part in body:
        console.print(part)


def _paired_text(pairs: Sequence[RunPair]) -> str:
    seeds = [(one.first_seed, one.second_seed) for one in pairs if one.first_seed is not None]
    if not seeds:
        return ""
    if len(seeds) == 1 and seeds[0][0] != seeds[0][1]:
        return f"seed {seeds[0][0]} against seed {seeds[0][1]}: not the same draws"
    return f"paired by seed: {', '.join(str(seed) for seed, _ in seeds)}"


def _settings(one: MethodDifference) -> list[Table | Text]:
    if not one.settings:
        return [Text("none that the folders tell of")]
    body: list[Table | Text] = []
    both = [setting for setting in one.settings if setting.first is not None and setting.second is not None]
    if both:
        table = plain_table()
        table.add_column("", no_wrap=True)
        for head in ("A", "B"):
            table.add_column(head, overflow="fold")
        for setting in both:
            table.add_row(Text(setting.name), Text(setting.first or ""), Text(setting.second or ""))
        body.append(table)
    # A run of an earlier version lacks all that came since: many names, and little to say of each.
    for side, lacking in (("A", "second"), ("B", "first")):
        if alone := [setting.name for setting in one.settings if getattr(setting, lacking) is None]:
            body.append(Text(f"only {side} has: {listed(alone, 8)}", style="dim"))
    return body


def _weights(one: MethodDifference) -> list[Table | Text]:
    rounds = {each.round for each in one.pairs if each.round is not None}
    norms = [each.frobenius for each in one.pairs if each.frobenius is not None]
    moved = [each.moved for each in one.pairs if each.moved is not None]
    if not norms:
        return [Text("no round was recorded by most peers on both sides")]
    rows = sum(each.rows for each in one.pairs)
    summary = Text(
        f"round {range_text(rounds)}, {rows} row{'' if rows == 1 else 's'}: "
        f"Frobenius norm {number_text(mean(norms), '.3f')}, {number_text(100 * mean(moved), '.1f')} % of a row moved"
    )
    changes = _mean_changes(one.pairs)[:_MOST_WEIGHTS]
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
    """(who, whom, A, B) over the pairs of runs that compare the row of `who`, the largest difference first."""
    rows = Counter(who for each in pairs for who in {one.who for one in each.weights})
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for one in (one for each in pairs for one in each.weights):
        first, second = sums.get((one.who, one.whom), (0.0, 0.0))
        sums[one.who, one.whom] = first + one.first, second + one.second
    means = [(who, whom, a / rows[who], b / rows[who]) for (who, whom), (a, b) in sums.items() if a != b]
    return sorted(means, key=lambda one: -abs(one[3] - one[2]))


def _bytes(one: MethodDifference) -> list[Table | Text]:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for each in (each for pair in one.pairs for each in (*pair.bytes, *_totals(pair.bytes))):
        first, second = sums.get((each.way, each.kind), (0, 0))
        sums[each.way, each.kind] = first + each.first, second + each.second
    if not sums:
        return [Text("not recorded")]
    table = plain_table()
    for head in ("", "kind"):
        table.add_column(head, no_wrap=True)
    for head in ("A", "B", "B / A"):
        table.add_column(head, justify="right", no_wrap=True)
    for (way, kind), (first, second) in sorted(sums.items(), reverse=True):
        ratio = f"{second / first:.2f}" if first else ""
        sizes = (bytes_text(value / len(one.pairs)) for value in (first, second))
        table.add_row(way, Text(kind or "all", style="" if kind else "bold"), *sizes, ratio)
    return [table]


def _totals(changes: Sequence[BytesChange]) -> list[BytesChange]:
    """Under a kind without a name."""
    return [
        BytesChange(
            way=way,
            kind="",
            first=sum(one.first for one in changes if one.way == way),
            second=sum(one.second for one in changes if one.way == way),
        )
        for way in dict.fromkeys(one.way for one in changes)
    ]
