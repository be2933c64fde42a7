"""Peers that chose differently: what is announced of one's own, taken of others', and said of the rest."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Unpack

import pytest

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, LearnerConfig
from gossipllm.work import Evaluate, Merge, Train, Weigh
from peers.core.config import NO_DEFENCE
from peers.core.effects import Effect, Judge, Publish, Pull, Store, Verdict
from peers.core.events import Heard, Pulled
from sim.toy.units import SCHEMAS, Form, fingerprints, part_bytes
from support.core_bench import Bench, RemotePeer
from support.effects import every, only, refusals, round_record
from support.messages import AnnouncementFields
from trust.rows.rows import TrustConfig
from wire.codec import decode_announcement
from wire.digest import Content
from wire.importance import decode_importance
from wire.messages import Announcement, BlobRef, network_id
from wire.updates.units import Offer


class Other:
    """Somebody of a network of units, who offers what it is told to."""

    def __init__(self, name: str, form: Form = "ranked") -> None:
        self.someone = RemotePeer(name)
        self.form: Form = form

    @property
    def id(self) -> str:
        return self.someone.id

    def update(
        self, units: range, rank: int = 0, values: tuple[float, ...] = (1.0, 0.1, 0.1, 0.1)
    ) -> Content:
        return Content.of(part_bytes(values, units, SCHEMAS[self.form].offer(units, rank)))

    def announce(
        self, round_: int, units: range, rank: int = 0, **fields: Unpack[AnnouncementFields]
    ) -> Heard:
        update, prints = self.update(units, rank), fingerprints(form=self.form)
        values: AnnouncementFields = {
            "offer": SCHEMAS[self.form].offer(units, rank),
            "update": BlobRef(digest=update.digest, size=update.size),
            "fingerprints": prints,
            "net": network_id("gossipllm", prints.reference),
            **fields,
        }
        return Heard(frame=self.someone.announce(round_, **values), via=self.id)


def announcement_in(effects: list[Effect]) -> Announcement:
    return decode_announcement(only(effects, Publish).frame).announcement


# -- our own ----------------------------------------------------------------------------------------


def test_what_this_peer_has_and_ever_did_is_announced() -> None:
    adapter, heads = AdapterConfig(rank=4, modules=("w0", "w2")), HeadsConfig(capacity=7)
    bench = Bench(form="ranked", learner=LearnerConfig(adapter=adapter, heads=heads))
    effects = bench.start()
    for round_ in range(3):
        effects = bench.publish(bench.answer(effects))
        announced = announcement_in(effects)
        assert announced.offer == Offer(4, b"\x05")
        assert announced.update.size == SCHEMAS["ranked"].size(announced.offer)
        assert (announced.tokens, announced.tokens_total) == (1, round_ + 1)
        assert (announced.samples_total, announced.capacity) == (round_ + 1, 7)
        assert (announced.importance, announced.shares, announced.contexts) == (b"", (), ())
        effects = bench.finish(effects)


def test_totals_count_a_round_once_that_was_repeated_after_a_crash(bench: Bench) -> None:
    saved = only(bench.finish(bench.publish()), Store).saved
    after = Bench(saved=saved)
    after.answer(after.start())
    again = Bench(saved=saved)
    assert announcement_in(again.publish(again.answer(again.start()))).tokens_total == 2


def test_a_window_is_trained_offered_measured_and_repeated_after_a_crash() -> None:
    learner = LearnerConfig(layers=LayersConfig(count=2))
    bench = Bench(form="split", learner=learner)
    effects = bench.start()
    for _ in range(4):
        train = only(effects, Train)
        effects = bench.publish(bench.answer(effects))
        announced = announcement_in(effects)
        assert announced.offer == Offer(0, train.units)
        known = decode_importance(announced.importance, 4)
        assert all(known[n] is not None for n in range(4) if train.units[0] >> n & 1)
        effects = bench.finish(effects)
        record = round_record(effects)
        assert (record.offered, record.importance) == (2, pytest.approx(known, nan_ok=True))
        assert record.window is not None
        assert 3 << record.window == train.units[0]
    after = Bench(saved=only(effects, Store).saved, form="split", learner=learner)
    assert only(after.start(), Train).units == only(effects, Train).units


# -- others' ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learner", "rank", "field"),
    [
        (LearnerConfig(merge="mean"), 4, "offer.rank"),
        (LearnerConfig(adapter=AdapterConfig(most_rank=16)), 17, "offer.rank"),
    ],
)
def test_a_rank_that_we_cannot_merge_is_named_once_passed_on_and_never_fetched(
    learner: LearnerConfig, rank: int, field: str
) -> None:
    bench = Bench(form="ranked", learner=learner)
    effects = bench.start()
    alice = Other("alice")
    bench.tell(alice.someone.greet())
    said: list[tuple[str, str]] = []
    for round_ in range(3):
        heard = bench.tell(alice.announce(round_, range(4), rank))
        assert only(heard, Judge).verdict is Verdict.ACCEPT
        assert not every(heard, Pull)
        said += refusals(heard)
        effects = bench.publish(bench.answer(effects))
        assert only(effects, Merge).row == (1.0,), "nobody waits for it"
        effects = bench.answer(effects)
    assert said == [(alice.id, field)]
    assert bench.core.welcome(alice.id, bench.now)


def test_those_whom_we_cannot_merge_take_nobodys_place() -> None:
    bench = Bench(
        form="ranked", learner=LearnerConfig(merge="mean"), rounds={"most_partners": 2, "explore": 2}
    )
    bench.start()
    for n in range(20):
        bench.tell(Other(f"p{n}").announce(0, range(4), 4))
    alike = [Other("one"), Other("two")]
    for one in alike:
        assert every(bench.tell(one.announce(0, range(4), 8)), Pull)


def test_unequal_ranks_and_parts_are_weighed_and_merged() -> None:
    bench = Bench(form="ranked", learner=LearnerConfig(adapter=AdapterConfig(rank=2)))
    effects = bench.start()
    large, part = Other("large"), Other("part")
    for one, units, rank in ((large, range(4), 16), (part, range(1), 2)):
        pull = only(bench.tell(one.announce(0, units, rank)), Pull)
        assert pull.size == SCHEMAS["ranked"].size(SCHEMAS["ranked"].offer(units, rank))
        bench.tell(Pulled(request=pull.request, content=one.update(units, rank)))
    weighing = bench.publish(bench.answer(effects))
    assert {one.author for one in every(weighing, Weigh)} == {large.id, part.id}
    record = round_record(bench.finish(weighing))
    assert record.guard == "taken"
    assert {seen.name: seen.rank for seen in record.seen} == {"large": 16, "part": 2}


@pytest.mark.parametrize("inside", [(range(4), 2), (range(2), 4), (range(1, 4), 4)])
def test_an_update_that_holds_another_offer_than_was_announced_costs_its_author(
    inside: tuple[range, int],
) -> None:
    bench = Bench(form="ranked")
    bench.start()
    alice = Other("alice")
    lie = alice.update(*inside)
    honest = SCHEMAS["ranked"].offer(range(3), 4)
    size = SCHEMAS["ranked"].size(honest)
    lie = Content.of(lie.data.ljust(size, b"\0")[:size])
    heard = alice.announce(0, range(3), 4, update=BlobRef(digest=lie.digest, size=size))
    pull = only(bench.tell(heard), Pull)
    effects = bench.tell(Pulled(request=pull.request, content=lie))
    assert [one for one, _ in refusals(effects)] == [alice.id]
    assert not bench.core.welcome(alice.id, bench.now)


def test_the_usual_size_of_a_tensor_is_that_of_those_who_hold_it() -> None:
    """Two hold the first number, three the others; who is out of the ordinary in the first alone pays for it."""
    bench = Bench(form="split")
    bench.start()

    def hear(name: str, units: range, values: tuple[float, ...]) -> list[Effect]:
        other = Other(name, "split")
        update = other.update(units, 0, values)
        heard = other.announce(0, units, update=BlobRef(digest=update.digest, size=update.size))
        pull = only(bench.tell(heard), Pull)
        return bench.tell(Pulled(request=pull.request, content=update))

    for n in range(3):
        assert not refusals(hear(f"p{n}", range(1, 4), (0.0, 1.0, 1.0 + n / 10, 1.0)))
    for n in range(2):
        assert not refusals(hear(f"q{n}", range(1), (50.0 + n, 0.0, 0.0, 0.0)))
    refused = refusals(hear("mallory", range(2), (1e5, 1.0, 0.0, 0.0)))
    assert [field for _, field in refused] == ["update.w0"]


# -- how much text they speak for -------------------------------------------------------------------


def weights(bench: Bench, *announced: AnnouncementFields) -> list[float]:
    """The row for neighbours that announce these counts, in the order of their ids."""
    effects = bench.start()
    people = sorted((RemotePeer(f"p{n}") for n in range(len(announced))), key=lambda one: one.id)
    for one, fields in zip(people, announced, strict=True):
        bench.receive(one, 0, **fields)
    asked = bench.publish(bench.answer(effects))
    return list(only(asked, Evaluate).rows[0])


def test_weights_follow_the_tokens_of_this_round_or_of_all() -> None:
    uniform = TrustConfig(strategy="uniform", tokens_power=1.0, tokens_cap=1000.0)
    one: AnnouncementFields = {"tokens": 3, "tokens_total": 1, "samples": 1}
    two: AnnouncementFields = {"tokens": 4, "tokens_total": 7, "samples": 6}
    row = weights(Bench(trust=uniform), one, two)
    assert row == pytest.approx([1 / 8, 3 / 8, 4 / 8]), "this peer's own is a token a step"
    total = replace(uniform, tokens_count="total")
    assert weights(Bench(trust=total), one, two) == pytest.approx([1 / 9, 1 / 9, 7 / 9])
    samples = replace(uniform, tokens_alpha=0.0)
    assert weights(Bench(trust=samples), one, two) == pytest.approx([1 / 8, 1 / 8, 6 / 8])


def test_claims_without_bound_buy_what_the_cap_allows() -> None:
    trust = TrustConfig(strategy="uniform", tokens_power=1.0, tokens_cap=2.0)
    row = weights(Bench(trust=trust), {"tokens": 1}, {"tokens": 2**53})
    assert row == pytest.approx([1 / 4, 1 / 4, 2 / 4])


def test_importance_that_is_no_number_is_refused_at_the_door() -> None:
    bench = Bench(form="split", learner=LearnerConfig(layers=LayersConfig(count=1)))
    bench.start()
    alice = Other("alice", "split")
    for value in (float("nan"), float("inf"), -0.5):
        heard = alice.announce(0, range(4), importance=struct.pack("<4f", 1.0, value, -1.0, 0.0))
        assert only(bench.tell(heard), Judge).verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("predictions", {"evidence", "update"}),
        ("product", {"evidence", "update"}),
        ("weights", {"update"}),
        ("validation", {"update"}),
        ("learned", {"update"}),
        ("uniform", {"update"}),
    ],
)
def test_predictions_are_fetched_only_by_who_compares_them(strategy: str, wanted: set[str]) -> None:
    bench, alice = Bench(trust=TrustConfig(strategy=strategy), defence=NO_DEFENCE), RemotePeer("alice")
    bench.start()
    bench.meet(alice)
    pulls = every(bench.tell(Heard(frame=alice.announce(inline=False), via=alice.id)), Pull)

    named = {alice.update.digest: "update", alice.evidence.digest: "evidence"}
    assert {named[one.digest] for one in pulls} == wanted


def test_an_update_without_predictions_is_weighed_and_merged_where_none_are_compared() -> None:
    bench, alice = Bench(trust=TrustConfig(strategy="weights")), RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    (pull,) = every(bench.tell(Heard(frame=alice.announce(inline=False), via=alice.id)), Pull)
    bench.tell(Pulled(request=pull.request, content=alice.update))
    effects = bench.publish(bench.answer(effects))

    assert only(effects, Weigh).evidence is None
    assert [seen.weight > 0 for seen in round_record(bench.finish(effects)).seen] == [True]
