"""What a round leaves behind: the record that a row can be computed again from, and the company that it was over."""

from __future__ import annotations

from typing import Unpack

import msgspec

from gossipllm import __version__
from gossipllm.work import Opened, Weigh, Weighed
from peers.core.effects import Effect, Keep, Store
from peers.core.events import Started
from sim.toy.learner import EVIDENCE
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, notes, only, records, round_record
from support.messages import AnnouncementFields
from trust.record.history import Begun, Round
from trust.rows.rows import TrustConfig


def gathered(
    bench: Bench, *others: RemotePeer, **announcement: Unpack[AnnouncementFields]
) -> tuple[list[Effect], list[Effect]]:
    """The effects of training, and those of a round whose neighbours are all here."""
    asked = bench.start()
    bench.meet(*others)
    saving = bench.train(asked)
    effects = bench.publish(saving)
    for other in others:
        effects += bench.receive(other, **announcement)
    return saving, effects


def test_a_beginning_says_by_which_settings_rows_are_made() -> None:
    trust = TrustConfig(strategy="product", tokens_power=0.5, temperatures=(3.0, 0.1))
    bench = Bench(trust=trust, rounds={"guard": False})
    (begun,) = records(bench.start())

    assert isinstance(begun, Begun)
    assert (begun.program, begun.guarded, begun.alpha) == (__version__, False, 1.0)
    assert msgspec.json.decode(begun.trust, type=TrustConfig) == trust


def test_a_round_keeps_all_that_its_row_was_made_of(alice: RemotePeer) -> None:
    bench = Bench(trust=TrustConfig(strategy="product"))
    _, effects = gathered(bench, alice, tokens=7, samples=3, tokens_total=70, samples_total=30)
    ended = bench.finish(effects)
    record = round_record(ended)

    assert isinstance(record, Round)
    (seen,) = record.seen
    assert len(seen.distances) == len(seen.errors) == 2
    assert seen.own == ()
    assert (seen.tokens, seen.samples, seen.tokens_total, seen.samples_total) == (7, 3, 70, 30)
    assert (record.tokens_total, record.samples_total) == (record.tokens, record.samples)


def test_one_kind_of_evidence_stands_once_and_an_own_measure_where_it_is_not_0(alice: RemotePeer) -> None:
    bench = Bench(trust=TrustConfig(strategy="fomo"), rounds={"guard": False})
    _, effects = gathered(bench, alice)
    weigh = only(effects, Weigh)
    told = Weighed(request=weigh.request, author=weigh.author, distances=(-2.0,), errors=(0.25,), own=(-1.0,))
    record = round_record(bench.finish(bench.tell(told)))

    (seen,) = record.seen
    assert (seen.distance, seen.error, seen.distances, seen.errors, seen.own) == (-2.0, 0.25, (), (), (-1.0,))
    assert seen.weight == 2 / 3


def test_the_company_of_a_merge_is_kept_where_the_peer_wants_it(alice: RemotePeer, bob: RemotePeer) -> None:
    bench = Bench(keep_neighbours=True)
    bob.update = update_of([5.0, 5.0, 5.0, 5.0])
    ended = bench.finish(gathered(bench, alice, bob)[1])
    company = only(ended, Keep).inputs
    record = round_record(ended)

    assert (company.peer, company.round, company.self_weight) == (record.peer, 0, record.self_weight)
    assert [(one.peer, one.name, one.weight) for one in company.members] == [
        (one.peer, one.name, one.weight) for one in record.seen
    ]
    assert {one.update for one in company.members} == {alice.update, bob.update}
    assert {one.evidence for one in company.members} == {EVIDENCE}
    # The toy's snapshot is its adapter, and the next state has been merged.
    assert company.snapshot != only(ended, Store).saved.snapshot


def test_the_kept_state_is_the_one_that_was_announced(alice: RemotePeer) -> None:
    bench = Bench(keep_neighbours=True)
    saving, effects = gathered(bench, alice)

    assert only(bench.finish(effects), Keep).inputs.snapshot == only(saving, Store).saved.snapshot


def test_nothing_is_kept_unasked_or_of_nobody(alice: RemotePeer) -> None:
    unasked = Bench()
    assert not every(unasked.finish(gathered(unasked, alice)[1]), Keep)
    lonely = Bench(keep_neighbours=True)
    ended = lonely.answer(lonely.publish())
    assert round_record(ended).guard == "alone"
    assert not every(ended, Keep)


def test_a_beginning_is_followed_by_what_the_learner_reads() -> None:
    bench = Bench()
    opening = bench.tell(Started())
    opened = bench.answer_to(opening)
    assert isinstance(opened, Opened)

    effects = bench.tell(msgspec.structs.replace(opened, account=("text: 2 files", "left out: 1 .jpg")))

    assert notes(effects) == ["text: 2 files", "left out: 1 .jpg"]
    assert isinstance(records(effects)[0], Begun)
