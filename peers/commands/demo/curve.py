"""The loss by round of peers that pre-train a model, beside that of one process after as many tokens."""

# matplotlib's keyword arguments have no types of their own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich import box
from rich.table import Table

from trust.files import write_output
from trust.record.history import Round


class CurvePoint(msgspec.Struct, frozen=True):
    """A round that every peer has done. `tokens` are those that all peers together have trained on; `peers` is their
    test loss in nats a token, as a mean, `one` that of one process, None where it did not come so far."""

    round: int
    tokens: int
    peers: float
    one: float | None


def curve(peers: Sequence[Sequence[Round]], one: Sequence[Round]) -> list[CurvePoint]:
    """`one` may be empty."""
    points: list[CurvePoint] = []
    for number in range(min(map(len, peers), default=0)):
        records = [rounds[number] for rounds in peers]
        points.append(
            CurvePoint(
                number,
                sum(each.tokens_total for each in records),
                math.fsum(each.test_merged for each in records) / len(records),
                one[number].test_merged if number < len(one) else None,
            )
        )
    return points


def curve_table(points: Sequence[CurvePoint]) -> Table:
    """A row for each point; without one process where none of them has it."""
    beside = any(point.one is not None for point in points)
    table = Table(title="loss by round, in nats a token", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("round", "tokens", "peers, mean", *(("one process", "over it") if beside else ())):
        table.add_column(name, justify="right")
    for point in points:
        lone = () if point.one is None else (f"{point.one:.3f}", f"{point.peers / point.one - 1:+.1%}")
        table.add_row(str(point.round), f"{point.tokens:,}", f"{point.peers:.3f}", *lone)
    return table


def save_curve(points: Sequence[CurvePoint], path: Path) -> None:
    """Draw both curves over tokens as a PNG; a failure leaves no partial file. Raises `UserMistake` where the file
    cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    tokens = [point.tokens for point in points]
    axes.plot(tokens, [point.peers for point in points], marker="o", label="peers, mean")
    beside = [(point.tokens, point.one) for point in points if point.one is not None]
    if beside:
        lone_tokens, losses = zip(*beside, strict=True)
        axes.plot(lone_tokens, losses, marker="s", label="one process with all the text")
    axes.set_xlabel("tokens, of all peers together")
    axes.set_ylabel("test loss, nats a token")
    axes.legend()
    write_output(path, lambda file: figure.savefig(file, format="png", dpi=150))
