"""Which announcements count: each rule once, and what a refused one must not change."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.work import Open, Opened
from peers.core.config import CoreConfig
from peers.core.others.admission import (
    FORGED_FINE,
    MALFORMED_FINE,
    MAX_AUTHORS,
    MAX_SAVED,
    REMEMBERED_ROUNDS,
    Accepted,
    Equivocated,
    Ignored,
    Ledger,
    Rejected,
)
from peers.core.others.budgets import ANNOUNCEMENTS_OF_AUTHOR
from peers.core.others.offers import Offers
from peers.core.terms import Terms
from peers.identity import Identity
from peers.run.command import DeviceKeys
from sim.toy.learner import ToyLearner, fingerprints
from sim.toy.units import BYTE_ROWS, BYTE_SHAPE, SCHEMAS, Form
from sim.world.keys import ToyKeys
from support.core_bench import RemotePeer
from trust.rows.rows import TrustConfig
from wire.codec import decode_announcement
from wire.messages import MAX_BLOB_BYTES, BlobRef, ShareRef, network_id
from wire.units import Offer

ME = ToyKeys.of("me")


def ledger_of(
    learner: LearnerConfig, form: Form = "whole", *, strategy: Any = "predictions", shape: Any = "ours"
) -> Ledger:
    """Of a peer that has opened a learner with these settings."""
    opened = ToyLearner((0.0,) * 4, form=form).answer(Open(request=1, config=learner, snapshot=None))
    assert isinstance(opened, Opened)
    terms = Terms.of("gossipllm", opened)
    return Ledger(
        terms,
        Offers(
            terms,
            CoreConfig(name="me", learner=learner, trust=TrustConfig(strategy=strategy, form=shape)),
            ME.public_key,
        ),
    )


@pytest.fixture
def ledger() -> Ledger:
    return ledger_of(LearnerConfig())


@pytest.fixture
def alice() -> Any:
    return RemotePeer("alice")


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


# -- over a restart -----------------------------------------------------------------------------------


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


# -- what is offered --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "field"),
    [
        ({"update": BlobRef(digest=bytes(32), size=19)}, "announcement.update.size"),
        ({"update": BlobRef(digest=bytes(32), size=2**31 - 1)}, "announcement.update.size"),
        ({"offer": Offer(4)}, "offer.rank"),
        ({"offer": Offer(0, b"\x01")}, "offer.units"),
        ({"offer": Offer(0, bytes(1024))}, "offer.units"),
        ({"importance": bytes(12)}, "announcement.importance"),
        ({"importance": struct.pack("<4f", 1, 1, 1, math.nan)}, "announcement.importance"),
        ({"importance": struct.pack("<4f", 1, 1, 1, math.inf)}, "announcement.importance"),
        ({"importance": struct.pack("<4f", 1, 1, 1, -2)}, "announcement.importance"),
        (
            {"shares": (ShareRef(to=ME.public_key, blob=BlobRef(digest=bytes(32), size=40)),)},
            "announcement.shares",
        ),
    ],
)
def test_a_lie_about_what_is_offered_costs_whoever_passes_it_on(
    ledger: Ledger, alice: RemotePeer, lie: dict[str, Any], field: str
) -> None:
    verdict = ledger.admit(alice.announce(0, **lie), ME, 0.0)
    assert isinstance(verdict, Rejected)
    assert (verdict.field, verdict.fine) == (field, MALFORMED_FINE)
    assert isinstance(ledger.admit(alice.announce(0), ME, 0.0), Accepted), "the lie changed nothing"


def offering(alice: RemotePeer, form: Form, units: range, rank: int, **fields: Any) -> bytes:
    schema = SCHEMAS[form]
    offer = schema.offer(units, rank)
    prints = fingerprints(form=form)
    return alice.announce(
        0,
        offer=offer,
        update=BlobRef(digest=bytes(32), size=schema.size(offer)),
        fingerprints=prints,
        net=network_id("gossipllm", prints.reference),
        **fields,
    )


@pytest.mark.parametrize(
    ("learner", "units", "rank", "obstacle"),
    [
        (LearnerConfig(), range(4), 8, None),
        (LearnerConfig(), range(4), 64, None),
        (LearnerConfig(), range(1, 3), 2, None),
        (LearnerConfig(), range(4), 65, "offer.rank"),
        (LearnerConfig(merge="mean"), range(4), 8, None),
        (LearnerConfig(merge="mean"), range(4), 4, "offer.rank"),
        (LearnerConfig(merge="mean"), range(2), 8, None),
        (LearnerConfig(mixing="push-sum"), range(4), 4, "offer"),
        (LearnerConfig(mixing="push-sum"), range(2), 8, "offer"),
        (LearnerConfig(adapter=AdapterConfig(modules=("w0",))), range(1), 8, None),
        (LearnerConfig(adapter=AdapterConfig(modules=("w0",))), range(1, 4), 8, "offer.units"),
    ],
)
def test_what_our_own_choices_keep_us_from_using_is_passed_on_and_named(
    alice: RemotePeer, learner: LearnerConfig, units: range, rank: int, obstacle: str | None
) -> None:
    ledger = ledger_of(learner, "ranked")
    verdict = ledger.admit(offering(alice, "ranked", units, rank), ME, 0.0)
    assert isinstance(verdict, Accepted)
    assert (verdict.obstacle and verdict.obstacle[0]) == obstacle


def test_published_forms_that_compare_whole_adapters_need_the_same_of_both(alice: RemotePeer) -> None:
    ledger = ledger_of(LearnerConfig(), "ranked", strategy="weights", shape="paper-text")
    verdict = ledger.admit(offering(alice, "ranked", range(4), 4), ME, 0.0)
    assert isinstance(verdict, Accepted)
    assert verdict.obstacle is not None
    assert "whole adapters" in verdict.obstacle[1]


def share(to: bytes, size: int) -> ShareRef:
    return ShareRef(to=to, blob=BlobRef(digest=bytes(32), size=size))


@pytest.mark.parametrize(
    ("shares", "field"),
    [
        ([(ME.public_key, 40)], None),
        ([(bytes([n] * 32), 40) for n in range(8)], None),
        ([(ME.public_key, 39)], "announcement.shares.size"),
        ([(bytes(32), 2**31 - 1)], "announcement.shares.size"),
    ],
)
def test_shares_are_one_for_a_receiver_and_of_the_size_that_mass_has(
    alice: RemotePeer, shares: list[tuple[bytes, int]], field: str | None
) -> None:
    ledger = ledger_of(LearnerConfig(mixing="push-sum"))
    refs = tuple(share(*one) for one in shares)
    verdict = ledger.admit(alice.announce(0, shares=refs), ME, 0.0)
    if field is None:
        assert isinstance(verdict, Accepted)
    else:
        assert isinstance(verdict, Rejected)
        assert verdict.field == field
