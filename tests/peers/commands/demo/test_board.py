"""`peers.commands.demo.board`: what a row says of a peer."""

from __future__ import annotations

import io
import json

from rich.console import Console

from peers.commands.demo.board import DemoPeerRow, board


def row_after(*rounds: dict[str, object], of: int = 9) -> DemoPeerRow:
    row = DemoPeerRow("amelie", "fr", "me", of)
    for number, changes in enumerate(rounds):
        event: dict[str, object] = {
            "event": "round",
            "round": number,
            "guard": "taken",
            "settled": False,
            "trust_alone": 5.0,
            "trust_merged": 5.0,
            "test_alone": 5.0,
            "test_merged": 5.0,
            "self_weight": 0.5,
            "seen": [{"peer": "other", "weight": 0.5}],
        }
        row.take(json.dumps(event | changes))
    return row


def test_the_test_loss_is_that_of_the_least_trust_loss_and_not_the_least_or_the_last() -> None:
    row = row_after(
        {"trust_merged": 4.0, "test_merged": 4.4},
        {"trust_alone": 3.9, "test_alone": 4.3},
        {"trust_merged": 4.1, "test_merged": 4.0},
    )
    assert row.test_loss == 4.3


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    assert row_after({"trust_merged": float("nan"), "test_merged": 1.0}, {}).test_loss == 5.0


def test_a_peer_that_gains_no_more_is_done_until_it_trains_again() -> None:
    assert row_after({}, {"settled": True}).done
    assert not row_after({}, {"settled": True}, {"settled": False}).done
    assert row_after({}, {}, of=2).done


def test_the_trust_row_is_that_of_the_last_merge_that_was_taken() -> None:
    back: dict[str, object] = {"guard": "recalled", "self_weight": 1.0, "seen": []}
    assert row_after({}, back).weights == {"me": 0.5, "other": 0.5}
    assert row_after(back).weights == {"me": 1.0}


def test_the_rounds_that_settled_peers_leave_out_are_not_waited_for() -> None:
    rows = [row_after({}, {"settled": True}, of=30), row_after({}, {}, of=4)]
    shown = io.StringIO()
    Console(file=shown, width=80).print(board(rows, elapsed_s=8.0, title="gossip", column=""))
    assert "gossip: 4 rounds, 8 s, at most 4 s left" in shown.getvalue()
