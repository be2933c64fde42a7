"""Tables of the test losses of two runs, for each peer and each method, with the significance of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from trust.inspection.diff.differences import MeasureDifference, MethodDifference, PeerChange
from trust.inspection.diff.significance import LEVEL, mean, smallest_wilcoxon
from trust.inspection.drawing.numbers import number_text
from trust.inspection.reading.naming import listed
from trust.names import short_names

NAME_WIDTH = 12
_METHOD_WIDTH = 16


def losses(comparison: MethodDifference) -> list[Table | Text]:
    """A table with a line for each common peer (means over the pairs of runs), and sentences on the mean of all."""
    table = plain_table()
    table.add_column("peer", no_wrap=True)
    for head in ("A", "B", "B - A", "ppl. A", "ppl. B"):
        table.add_column(head, justify="right", no_wrap=True)
    by_name: dict[str, list[PeerChange]] = {}
    for peer in (peer for pair in comparison.pairs for peer in pair.peers):
        by_name.setdefault(peer.name, []).append(peer)
    labels = short_names([(name, name) for name in by_name], NAME_WIDTH)
    for label, peers in zip(labels, by_name.values(), strict=True):
        _add_loss(
            table,
            Text(label, style="bold"),
            [
                mean(values)
                for values in zip(
                    *((p.first_loss, p.second_loss, p.first_perplexity, p.second_perplexity) for p in peers),
                    strict=True,
                )
            ],
        )
    loss, ppl = comparison.measures
    _add_loss(table, Text("mean", style="dim"), [loss.first, loss.second, ppl.first, ppl.second])
    return [table, *_remarks(comparison), Text(""), *_verdicts(comparison.measures)]


def overview(comparisons: Sequence[MethodDifference]) -> list[Table | Text]:
    """A table with a line for each method."""
    table = plain_table()
    table.add_column("method", no_wrap=True)
    for head in ("A", "B", "B - A", "seeds", "p"):
        table.add_column(head, justify="right", no_wrap=True)
    names = [Path(comparison.second).name for comparison in comparisons]
    for label, comparison in zip(
        short_names([(name, name) for name in names], _METHOD_WIDTH), comparisons, strict=True
    ):
        loss = comparison.measures[0]
        p = "" if loss.t_p is None else f"{loss.t_p:.2g}"
        values = (
            number_text(loss.first, ".4f"),
            number_text(loss.second, ".4f"),
            number_text(loss.mean, "+.4f"),
        )
        table.add_row(Text(label, style="bold"), *values, str(loss.n), p)
    caution = (
        f"p: how often chance alone would give this much (paired t-test); of {len(comparisons)} rows, one in "
        f"twenty falls below {LEVEL} by chance"
    )
    return [table, Text(caution, style="dim")]


def plain_table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")


def range_text(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _add_loss(table: Table, name: Text, values: Sequence[float]) -> None:
    first, second, *perplexities = values
    change = second - first
    style = "green" if change < 0 else "red" if change > 0 else ""
    table.add_row(
        name,
        number_text(first, ".4f"),
        number_text(second, ".4f"),
        Text(number_text(change, "+.4f"), style=style),
        *(number_text(value, ".5g") for value in perplexities),
    )


def _remarks(comparison: MethodDifference) -> list[Text]:
    peers = [peer for pair in comparison.pairs for peer in pair.peers]
    ours, theirs = ({getattr(peer, side) for peer in peers} for side in ("first_round", "second_round"))
    remarks: list[Text] = []
    if any(peer.first_round != peer.second_round for peer in peers):
        remarks.append(
            Text(f"last rounds differ: {range_text(ours)} in A, {range_text(theirs)} in B", style="dim")
        )
    for side, alone in (
        ("A", {n for p in comparison.pairs for n in p.first_only}),
        ("B", _second_only(comparison)),
    ):
        if alone:
            remarks.append(Text(f"only in {side}: {listed(sorted(alone), 8)}", style="dim"))
    return remarks


def _second_only(comparison: MethodDifference) -> set[str]:
    return {name for pair in comparison.pairs for name in pair.second_only}


def _verdicts(measures: Sequence[MeasureDifference]) -> list[Text]:
    if (
        all(measure.t_p is None for measure in measures)
        and len({measure.verdict for measure in measures}) == 1
    ):
        # One run on each side, or equal runs: the verdict is the same for every measure.
        return [Text(measures[0].verdict[0].upper() + measures[0].verdict[1:])]
    return [line for measure in measures for line in _verdict(measure)]


def _verdict(measure: MeasureDifference) -> list[Text]:
    lines = [Text(f"{measure.name}: {measure.verdict}", style="bold" if _beyond(measure) else "")]
    if measure.std is not None and measure.low is not None and measure.high is not None:
        lines.append(
            Text(
                f"  B - A {measure.mean:+.4g}, std. {measure.std:.2g}, 95 % interval "
                f"{measure.low:+.4g} to {measure.high:+.4g}"
            )
        )
    if measure.wilcoxon_p is not None:
        least = smallest_wilcoxon(measure.n)
        unable = f"; {measure.n} seeds cannot go below {least:.2g}" if least >= LEVEL else ""
        lines.append(Text(f"  Wilcoxon's test: p = {measure.wilcoxon_p:.2g}{unable}"))
    return lines


def _beyond(measure: MeasureDifference) -> bool:
    return measure.t_p is not None and measure.t_p < LEVEL
