"""Which announcements count: each rule once, and what a refused one must not change."""

from __future__ import annotations

import msgspec
import pytest

from peers.core.others.admission import (
    FORGED_FINE,
    MALFORMED_FINE,
    MAX_AUTHORS,
    REMEMBERED_ROUNDS,
    Accepted,
    Equivocated,
    Ignored,
    Ledger,
    Rejected,
)
from peers.core.others.standing.budgets import ANNOUNCEMENTS_OF_AUTHOR
from peers.identity import Identity
from peers.run.command import DeviceKeys
from sim.toy.learner import fingerprints
from sim.toy.units import BYTE_ROWS, BYTE_SHAPE
from support.core_bench import RemotePeer
from support.ledgers import ME
from wire.codec import decode_announcement
from wire.messages import MAX_BLOB_BYTES, BlobRef
from wire.updates.units import Offer


def test_a_first_announcement_is_accepted_in_the_name_of_its_author(
    ledger: Ledger, alice: RemotePeer
) -> None:
    verdict = ledger.admit(alice.announce(7), ME, 0.0)

    assert isinstance(verdict, Accepted)
    assert verdict.author == alice.id


def test_later_rounds_are_accepted_and_earlier_ones_are_not(ledger: Ledger, alice: RemotePeer) -> None:
    assert isinstance(ledger.admit(alice.announce(5), ME, 0.0), Accepted)
    assert isinstance(ledger.admit(alice.announce(9), ME, 0.0), Accepted)
    assert ledger.admit(alice.announce(7), ME, 0.0) == Ignored("announcement.round", "7, known to 9")


def test_a_duplicate_is_ignored_with_or_without_its_evidence(ledger: Ledger, alice: RemotePeer) -> None:
    ledger.admit(alice.announce(3), ME, 0.0)

    assert ledger.admit(alice.announce(3), ME, 0.0) == Ignored("announcement.round", "duplicate")
    assert ledger.admit(alice.announce(3, inline=False), ME, 0.0) == Ignored(
        "announcement.round", "duplicate"
    )


def test_our_own_announcement_is_ignored(ledger: Ledger) -> None:
    mine = RemotePeer("me").announce(3)
    ledger.announced(3, decode_announcement(mine).digest)
    assert ledger.admit(mine, ME, 0.0) == Ignored("announcement.author", "our own")


def test_another_reference_set_is_another_network(ledger: Ledger, alice: RemotePeer) -> None:
    theirs = msgspec.structs.replace(fingerprints(), reference=bytes(32))

    verdict = ledger.admit(alice.announce(0, fingerprints=theirs), ME, 0.0)

    assert isinstance(verdict, Ignored)
    assert verdict.mismatch
    assert verdict.field == "reference"
    assert "theirs 00000000, ours " in verdict.why


@pytest.mark.parametrize("field", ["base", "tokenizer", "layout"])
def test_another_base_tokenizer_or_layout_is_accepted_whatever_its_update(
    ledger: Ledger, alice: RemotePeer, field: str
) -> None:
    theirs = msgspec.structs.replace(fingerprints(), **{field: bytes(32)})
    large = BlobRef(digest=bytes(32), size=2**31 - 1)

    verdict = ledger.admit(
        alice.announce(0, fingerprints=theirs, update=large, offer=Offer(7, b"\1")), ME, 0.0
    )

    assert isinstance(verdict, Accepted)
    assert verdict.relation == "compares"
    assert verdict.obstacle is None


@pytest.mark.parametrize("field", ["base", "tokenizer"])
def test_byte_rows_of_a_size_that_none_can_have_are_refused_whoever_announces_them(
    ledger: Ledger, alice: RemotePeer, field: str
) -> None:
    theirs = msgspec.structs.replace(fingerprints(), **{field: bytes(32)})
    sizes = (BYTE_ROWS.size, BYTE_ROWS.size - 1, BYTE_SHAPE.size(0), BYTE_SHAPE.size(2), MAX_BLOB_BYTES)
    announced = [
        alice.announce(0, fingerprints=theirs, byte_rows=BlobRef(digest=bytes(32), size=size), inline=False)
        for size in sizes
    ]

    fits, *others = [ledger.admit(frame, ME, 0.0) for frame in announced]

    assert isinstance(fits, Accepted)
    for verdict in others:
        assert isinstance(verdict, Rejected)
        assert (verdict.field, verdict.fine) == ("announcement.byte_rows.size", MALFORMED_FINE)


def test_another_tokenizer_makes_predictions_of_another_size(ledger: Ledger, alice: RemotePeer) -> None:
    theirs = msgspec.structs.replace(fingerprints(), tokenizer=bytes(32))
    other = BlobRef(digest=bytes(32), size=1)

    verdict = ledger.admit(alice.announce(0, fingerprints=theirs, inline=False, evidence=other), ME, 0.0)

    assert isinstance(verdict, Accepted)


def test_a_peer_of_another_base_does_not_answer_for_a_lie_that_it_cannot_see(
    ledger: Ledger, alice: RemotePeer
) -> None:
    lie = alice.announce(0, update=BlobRef(digest=bytes(32), size=1))

    verdict = ledger.admit(lie, ME, 0.0, answers=lambda author: author != alice.id)

    assert isinstance(verdict, Ignored)
    assert verdict.field == "announcement.update.size"
    assert isinstance(ledger.admit(lie, ME, 0.0, answers=lambda author: author == alice.id), Rejected)


def test_another_network_name_is_ignored(ledger: Ledger, alice: RemotePeer) -> None:
    verdict = ledger.admit(alice.announce(0, net=bytes(32)), ME, 0.0)
    assert isinstance(verdict, Ignored)
    assert (verdict.field, verdict.mismatch) == ("net", True)


def test_predictions_of_another_size_are_ignored(ledger: Ledger, alice: RemotePeer) -> None:
    other = BlobRef(digest=bytes(32), size=1)
    verdict = ledger.admit(alice.announce(0, inline=False, evidence=other), ME, 0.0)
    assert isinstance(verdict, Ignored)
    assert verdict.field == "announcement.evidence.size"


def test_garbage_is_rejected_at_the_cost_of_who_sent_it(ledger: Ledger) -> None:
    verdict = ledger.admit(b"garbage", ME, 0.0)
    assert isinstance(verdict, Rejected)
    assert verdict.fine == MALFORMED_FINE


def test_a_forged_signature_is_rejected(ledger: Ledger) -> None:
    keys = DeviceKeys(Identity(bytes(32)))
    alice, mallory = (DeviceKeys(Identity(bytes([seed]) * 32)) for seed in (1, 2))
    forged = RemotePeer("alice", keys=alice).announce(3, sign=mallory.sign)
    genuine = RemotePeer("alice", keys=alice).announce(3)

    verdict = ledger.admit(forged, keys, 0.0)

    assert verdict == Rejected("announcement.signature", "does not verify for its author", FORGED_FINE)
    assert isinstance(ledger.admit(genuine, keys, 0.0), Accepted)


def test_two_announcements_for_one_round_are_a_proof_against_their_author(
    ledger: Ledger, alice: RemotePeer
) -> None:
    ledger.admit(alice.announce(3), ME, 0.0)

    verdict = ledger.admit(alice.announce(3, tokens=2), ME, 0.0)

    assert isinstance(verdict, Equivocated)
    assert (verdict.author, verdict.round) == (alice.id, 3)
    assert verdict.first != verdict.second


def test_a_forger_cannot_frame_an_author_for_equivocation(ledger: Ledger, alice: RemotePeer) -> None:
    ledger.admit(alice.announce(3), ME, 0.0)
    forged = alice.announce(3, tokens=2, sign=lambda _: bytes(64))
    assert isinstance(ledger.admit(forged, ME, 0.0), Rejected)


def test_equivocation_is_seen_as_many_rounds_back_as_are_remembered(
    ledger: Ledger, alice: RemotePeer
) -> None:
    for round_ in range(REMEMBERED_ROUNDS + 1):
        ledger.admit(alice.announce(round_), ME, 0.0)

    assert isinstance(ledger.admit(alice.announce(1, tokens=2), ME, 0.0), Equivocated)
    assert isinstance(ledger.admit(alice.announce(0, tokens=2), ME, 0.0), Ignored)


def test_an_author_that_announces_too_fast_is_slowed_and_not_blocked(
    ledger: Ledger, alice: RemotePeer
) -> None:
    verdicts = [
        ledger.admit(alice.announce(round_), ME, 0.0)
        for round_ in range(int(ANNOUNCEMENTS_OF_AUTHOR.burst) + 1)
    ]

    assert all(isinstance(one, Accepted) for one in verdicts[:-1])
    assert isinstance(verdicts[-1], Ignored)
    assert isinstance(
        ledger.admit(
            alice.announce(int(ANNOUNCEMENTS_OF_AUTHOR.burst)), ME, 1 / ANNOUNCEMENTS_OF_AUTHOR.per_second
        ),
        Accepted,
    )


def test_forged_frames_cost_their_victim_nothing(ledger: Ledger, alice: RemotePeer) -> None:
    ledger.admit(alice.announce(0), ME, 0.0)
    for round_ in range(1, 3 * int(ANNOUNCEMENTS_OF_AUTHOR.burst)):
        ledger.admit(alice.announce(round_, sign=lambda _: bytes(64)), ME, 0.0)

    assert isinstance(ledger.admit(alice.announce(1), ME, 0.0), Accepted)


def test_a_banned_author_is_ignored_before_its_signature_is_verified(
    ledger: Ledger, alice: RemotePeer
) -> None:
    forged = alice.announce(3, sign=lambda _: bytes(64))

    verdict = ledger.admit(forged, ME, 0.0, banned=lambda author: author == alice.id)

    assert verdict == Ignored("announcement.author", "banned")


def test_the_ledger_is_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_AUTHORS == 10_000
    monkeypatch.setattr("peers.core.others.admission.MAX_AUTHORS", 20)
    small = Ledger(ledger._terms, ledger._offers)
    for name in range(100):
        small.admit(RemotePeer(str(name)).announce(0), ME, 0.0)

    assert len(small._authors) == 20


def test_a_flood_makes_the_ledger_forget_the_flood_and_no_seated_author(
    ledger: Ledger, alice: RemotePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peers.core.others.admission.MAX_AUTHORS", 20)
    friend = RemotePeer("friend")
    small = Ledger(ledger._terms, ledger._offers, seated=lambda peer: peer == friend.id)
    small.admit(friend.announce(0), ME, 0.0, source="crowd")
    small.admit(alice.announce(0), ME, 0.0, source="alone")
    for name in range(100):
        small.admit(RemotePeer(str(name)).announce(0), ME, 0.0, source="crowd")

    for one in (friend, alice):
        assert small.admit(one.announce(0), ME, 0.0) == Ignored("announcement.round", "duplicate")
