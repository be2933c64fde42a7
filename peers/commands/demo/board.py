"""The live table of the demo: a row for each peer, from the last lines that it printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from trust.counting import counted
from trust.names import escaped
from trust.record.history import took


@dataclass(slots=True)
class DemoPeerRow:
    """The state of one peer, from its JSON lines. `weights` is the row of its last merge by peer id, with its own
    weight. `test_loss` is that of its best state, the one of least loss on its trust text, which it exports.

    `particular` is what `shown` returns for its last round, or for an empty event before the first.
    """

    name: str
    language: str
    peer: str
    rounds: int
    shown: Callable[[Mapping[str, Any]], str] = lambda _: ""
    particular: str = ""
    doing: str = "starting"
    address: str = ""
    tokens_per_s: float = 0.0
    loss: float | None = None
    base_loss: float | None = None
    test_loss: float | None = None
    neighbours: int = 0
    sent: int = 0
    received: int = 0
    weights: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    rounds_done: int = 0
    settled: bool = False
    last_words: str = ""
    least_trust_loss: float = math.inf

    def __post_init__(self) -> None:
        self.particular = self.shown({})

    @property
    def done(self) -> bool:
        """Whether it has gained all that it can, or taken all its rounds."""
        return self.settled or self.rounds_done >= self.rounds

    def take(self, line: str) -> None:
        """Take in a line of the peer's output. A line that is no event is kept as `last_words`."""
        try:
            event: dict[str, Any] = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            self.last_words = line.strip() or self.last_words
            return
        match kind:
            case "listening":
                self.address = event["addresses"][0]
            case "begun":
                if event["round"] == 0:
                    self.base_loss = event["test_loss"]
            case "progress":
                self.doing = f"{event['phase']} {event['step']}/{event['steps']}"
                if event["tokens_per_s"] > 0:
                    self.tokens_per_s, self.loss = event["tokens_per_s"], event["loss"]
            case "round":
                self._take_round(event)
            case "note":
                self.doing = "done" if self.done else event["text"]
            case "status":
                self.neighbours = event["neighbours"]
            case _:
                """Refusals are in the history; the table has no room for them."""
        if "sent" in event:
            self.sent, self.received = (sum(event[side].values()) for side in ("sent", "received"))

    def _take_round(self, event: Mapping[str, Any]) -> None:
        self.rounds_done = event["round"] + 1
        self.settled = event["settled"]
        self.particular = self.shown(event)
        self.doing = "done" if self.done else "merged"
        for when in ("alone", "merged"):
            if event[f"trust_{when}"] < self.least_trust_loss:
                self.least_trust_loss, self.test_loss = event[f"trust_{when}"], event[f"test_{when}"]
        if took(event["guard"]) or not self.weights:
            self.weights = {self.peer: event["self_weight"]}
            self.weights |= {one["peer"]: one["weight"] for one in event["seen"]}


def board(rows: list[DemoPeerRow], *, elapsed_s: float, title: str, column: str) -> Group:
    """The table. Trust rows are in the order of its rows, in per cent. `column` is the heading of `particular`; if
    it is empty, the table has no such column."""
    # Narrow enough for a terminal of 80 columns.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0 if column else 1, 0, 0), pad_edge=False)
    particular = (column,) if column else ()
    for name in (
        "peer",
        "text",
        *particular,
        "round",
        "doing",
        "tok/s",
        "loss",
        "near",
        "sent",
        "got",
        "trust row %",
    ):
        left = name in ("peer", "text", "doing", "trust row %")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.language,
            *((row.particular,) if column else ()),
            f"{row.rounds_done}/{row.rounds}",
            Text(escaped(row.doing)[:12]),
            f"{row.tokens_per_s:,.0f}" if row.tokens_per_s else "",
            f"{row.loss:.2f}" if row.loss is not None else "",
            str(row.neighbours),
            f"{row.sent / 1e6:.1f}M",
            f"{row.received / 1e6:.1f}M",
            _trust_row(row, rows),
        )
    done = sum(row.rounds_done for row in rows)
    # A peer that gains no more ends before its rounds do.
    left = sum(row.rounds - row.rounds_done for row in rows if not row.done)
    line = f"{title}: {counted(done, 'round')}, {elapsed_s:.0f} s"
    if done and left:
        line += f", at most {elapsed_s / done * left:.0f} s left"
    return Group(Text(line, style="bold"), table)


def _trust_row(row: DemoPeerRow, rows: list[DemoPeerRow]) -> Text:
    text = Text()
    for other in rows:
        weight = row.weights.get(other.peer)
        shown = " ·" if weight is None else f"{100 * weight:2.0f}"
        much = weight is not None and weight >= 1 / (len(rows) + 1)
        text.append(f"{shown} ", style="bold green" if much else "dim")
    return text
