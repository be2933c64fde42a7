"""`peers.commands.demo.curve`: losses by round, beside those of one process after as many tokens."""

from __future__ import annotations

import io
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from peers.commands.demo.curve import curve, curve_table, save_curve
from support.records import round_of
from trust.record.history import Round


def rounds(*losses: float, tokens: int) -> list[Round]:
    return [
        replace(round_of("a", number, {}), test_merged=loss, tokens_total=(number + 1) * tokens)
        for number, loss in enumerate(losses)
    ]


def shown(peers: list[list[Round]], one: list[Round]) -> list[list[str]]:
    file = io.StringIO()
    Console(file=file, width=80).print(curve_table(curve(peers, one)))
    return [line.split() for line in file.getvalue().splitlines() if line.strip()[:1].isdigit()]


def test_a_row_is_the_mean_of_the_peers_beside_one_process_after_as_many_tokens() -> None:
    peers = [rounds(6.0, 5.0, tokens=1000), rounds(6.5, 5.2, tokens=1000)]

    found = shown(peers, rounds(6.1, 4.9, tokens=2000))

    assert found == [["0", "2,000", "6.250", "6.100", "+2.5%"], ["1", "4,000", "5.100", "4.900", "+4.1%"]]


def test_the_curve_ends_with_the_last_round_that_all_have_done() -> None:
    found = shown([rounds(6.0, 5.0, tokens=10), rounds(6.0, tokens=10)], [])

    assert found == [["0", "20", "6.000"]]


def test_both_curves_are_drawn(tmp_path: Path) -> None:
    peers = [rounds(6.0, 5.0, tokens=1000), rounds(6.5, 5.2, tokens=1000)]

    for name, one in (("both", rounds(6.1, 4.9, tokens=2000)), ("peers", [])):
        save_curve(curve(peers, one), tmp_path / f"{name}.png")

    both, alone = ((tmp_path / f"{name}.png").read_bytes() for name in ("both", "peers"))
    assert both.startswith(b"\x89PNG")
    assert alone.startswith(b"\x89PNG")
    assert len(both) > len(alone), "a second line and its name"
