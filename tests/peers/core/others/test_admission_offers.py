"""Which announcements count by what they offer: units, ranks, importance, shares."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from gossipllm.config import AdapterConfig, LearnerConfig
from peers.core.others.admission import (
    MALFORMED_FINE,
    Accepted,
    Ledger,
    Rejected,
)
from sim.toy.learner import fingerprints
from sim.toy.units import SCHEMAS, Form
from support.core_bench import RemotePeer
from support.ledgers import ME, ledger_of
from wire.messages import BlobRef, ShareRef, network_id
from wire.updates.units import Offer


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
