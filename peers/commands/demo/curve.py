"""The loss by round of peers that pre-train a model, beside that of one process after as many tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table

from trust.record.history import Round


def curve_table(peers: Sequence[Sequence[Round]], one: Sequence[Round]) -> Table:
    """A row for each round that every peer has done: the tokens that all peers together have trained on, and test
    losses in nats a token, of the peers as a mean. `one` may be empty."""
    table = Table(title="loss by round, in nats a token", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("round", "tokens", "peers, mean", *(("one process",) if one else ())):
        table.add_column(name, justify="right")
    for number in range(min(map(len, peers), default=0)):
        records = [rounds[number] for rounds in peers]
        mean = math.fsum(each.test_merged for each in records) / len(records)
        lone = [f"{one[number].test_merged:.3f}" if number < len(one) else ""] if one else []
        table.add_row(str(number), f"{sum(each.tokens_total for each in records):,}", f"{mean:.3f}", *lone)
    return table
