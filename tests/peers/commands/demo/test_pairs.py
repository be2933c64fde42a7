"""What each two peers of the demo did for each other, as their histories say it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
from rich.console import Console

from peers.commands.demo.pairs import pairs, pairs_meaning, pairs_table
from support.records import begun_of, entry_of, round_of, seen_of
from trust.record.history import Entry, Relation


def history(peer: str, *rounds: dict[str, Relation]) -> Sequence[Entry]:
    records = [
        msgspec.structs.replace(
            round_of(peer, number, {}),
            seen=tuple(
                msgspec.structs.replace(seen_of(other), relation=relation) for other, relation in met.items()
            ),
        )
        for number, met in enumerate(rounds)
    ]
    return [entry_of(begun_of(peer)), *map(entry_of, records)]


def four() -> dict[str, Sequence[Entry]]:
    return {
        "ann": history("ann", {"bob": "merges", "cem": "compares", "dan": "apart"}, {"cem": "distils"}),
        "bob": history("bob"),
        "cem": history("cem", {"ann": "compares"}),
        "dan": history("dan", {"ann": "apart"}),
    }


def test_a_pair_does_what_it_did_in_the_last_round_that_saw_it() -> None:
    found = pairs(four())
    assert found["ann"] == {"bob": "merges", "cem": "distils", "dan": "apart"}
    assert found["dan"]["ann"] == "apart"
    assert found["cem"]["ann"] == "compares"


def test_a_peer_that_no_round_saw_was_never_met() -> None:
    assert pairs(four())["bob"] == {"ann": None, "cem": None, "dan": None}


def test_the_table_fits_a_terminal_and_counts_each_relation() -> None:
    found = pairs(four())
    shown = io.StringIO()
    Console(file=shown, width=80).print(pairs_table(found))
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    assert "never met" in shown.getvalue()
    meaning = list(pairs_meaning(found))
    assert [line.partition(":")[0] for line in meaning] == ["merges", "distils", "compares", "apart"]
    assert meaning[0].endswith("(1 of 12)")
