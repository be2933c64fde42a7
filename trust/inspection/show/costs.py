"""The table of `trust show --cost`: a row for each peer and each method by which its energy was counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trust.inspection.drawing.grid import BOLD, DIM, Cell, Column, Grid
from trust.inspection.reading.summary import PeerCost
from trust.inspection.reading.traffic import bytes_text

ABOUT = (
    "spent in the rounds of this history; counted joules are of the whole machine",
    "J/k: joules for a thousand tokens of training; peak: most memory of the learner",
)


def costs_grid(costs: Sequence[PeerCost], name_of: Mapping[str, str]) -> Grid:
    # A sum over different methods would be a number without one.
    whole = len(costs) > 1 and len({one.method for one in costs}) == 1

    def column(
        head: str,
        text: Callable[[PeerCost], str],
        total: Callable[[], str] = lambda: "",
        *,
        right: bool = True,
    ) -> Column:
        foot: list[Cell] = [(total(), DIM)] if whole else []
        return Column(head, [(text(one), None) for one in costs] + foot, right=right)

    parts = [
        [
            column("rounds", lambda one: str(one.rounds), lambda: str(sum(one.rounds for one in costs))),
            column(
                "joules",
                lambda one: f"{one.joules:,.0f}",
                lambda: f"{sum(one.joules for one in costs):,.0f}",
            ),
            column("J/k", lambda one: f"{1e3 * one.joules / one.tokens:.2f}" if one.tokens else "?"),
            column("method", lambda one: one.method, right=False),
        ],
        [
            column(
                "processor s",
                lambda one: f"{one.processor_s:,.1f}",
                lambda: f"{sum(one.processor_s for one in costs):,.1f}",
            ),
            column("peak", lambda one: bytes_text(one.peak_bytes) if one.peak_bytes else "?"),
            column("↑", lambda one: bytes_text(one.sent), lambda: bytes_text(sum(one.sent for one in costs))),
            column(
                "↓",
                lambda one: bytes_text(one.received),
                lambda: bytes_text(sum(one.received for one in costs)),
            ),
        ],
    ]
    labels: list[Cell] = [(name_of[one.peer], BOLD) for one in costs]
    return Grid(Column("peer", labels + ([("total", DIM)] if whole else [])), parts)
