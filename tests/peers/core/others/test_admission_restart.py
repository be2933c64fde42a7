"""Which announcements count after a restart: what a ledger saves, and how much of it."""

from __future__ import annotations

from peers.core.others.admission import (
    MAX_SAVED,
    Accepted,
    Equivocated,
    Ignored,
    Ledger,
    Rejected,
)
from support.core_bench import RemotePeer
from support.ledgers import ME


def again(ledger: Ledger) -> Ledger:
    """The ledger of the next process, from what this one saves."""
    after = Ledger(ledger._terms, ledger._offers)
    after.restore(ledger.rows(), ME)
    return after


def test_a_restart_lets_no_earlier_announcement_in_again(ledger: Ledger, alice: RemotePeer) -> None:
    for round_ in (3, 5):
        ledger.admit(alice.announce(round_), ME, 0.0)
    after = again(ledger)
    assert after.admit(alice.announce(3), ME, 0.0) == Ignored("announcement.round", "3, known to 5")
    assert isinstance(after.admit(alice.announce(6), ME, 0.0), Accepted)


def test_the_latest_is_taken_once_more_because_its_blobs_are_gone(ledger: Ledger, alice: RemotePeer) -> None:
    ledger.admit(alice.announce(5), ME, 0.0)
    after = again(ledger)
    verdict = after.admit(alice.announce(5), ME, 0.0)
    assert isinstance(verdict, Accepted)
    assert not verdict.new
    assert after.admit(alice.announce(5), ME, 0.0) == Ignored("announcement.round", "duplicate")


def test_two_announcements_for_one_round_are_found_out_across_a_restart(
    ledger: Ledger, alice: RemotePeer
) -> None:
    ledger.admit(alice.announce(5), ME, 0.0)
    assert isinstance(again(again(ledger)).admit(alice.announce(5, tokens=2), ME, 0.0), Equivocated)


def test_a_forgery_for_a_saved_round_bans_nobody(ledger: Ledger, alice: RemotePeer) -> None:
    ledger.admit(alice.announce(5), ME, 0.0)
    forged = alice.announce(5, tokens=2, sign=lambda _: bytes(64))
    assert isinstance(again(ledger).admit(forged, ME, 0.0), Rejected)


def test_what_is_saved_is_bounded_and_has_seated_authors_first(ledger: Ledger) -> None:
    friend = RemotePeer("friend")
    full = Ledger(ledger._terms, ledger._offers, seated=lambda peer: peer == friend.id)
    full.admit(friend.announce(7), ME, 0.0)
    for name in range(MAX_SAVED + 50):
        full.admit(RemotePeer(str(name)).announce(0), ME, 0.0)
    rows = full.rows()
    assert len(rows) == MAX_SAVED
    assert friend.keys.public_key in {row.author for row in rows}
    assert RemotePeer("0").keys.public_key not in {row.author for row in rows}
