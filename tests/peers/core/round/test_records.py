"""What a round leaves behind: the record that a row can be computed again from, and the company that it was over."""

from __future__ import annotations

from typing import Any

import msgspec

from gossipllm import __version__
from gossipllm.work import Weigh, Weighed
from peers.core.effects import Keep, Log, Store
from trust.record.history import Begun, Round
from trust.rows.rows import TrustConfig


def gathered(bench: Any, *others: Any, **announcement: Any) -> tuple[list[Any], list[Any]]:
    """The effects of training, and those of a round whose neighbours are all here."""
    asked = bench.start()
    bench.meet(*others)
    saving = bench.train(asked)
    effects = bench.publish(saving)
    for other in others:
        effects += bench.receive(other, **announcement)
    return saving, effects


def test_a_beginning_says_by_which_settings_rows_are_made(script: Any) -> None:
    trust = TrustConfig(strategy="product", tokens_power=0.5, temperatures=(3.0, 0.1))
    bench = script.Bench(trust=trust, rounds={"guard": False})
    (begun,) = script.records(bench.start())

    assert isinstance(begun, Begun)
    assert (begun.program, begun.guarded, begun.alpha) == (__version__, False, 1.0)
    assert msgspec.json.decode(begun.trust, type=TrustConfig) == trust


def test_a_round_keeps_all_that_its_row_was_made_of(script: Any, alice: Any) -> None:
    bench = script.Bench(trust=TrustConfig(strategy="product"))
    _, effects = gathered(bench, alice, tokens=7, samples=3, tokens_total=70, samples_total=30)
    ended = bench.finish(effects)
    (record,) = script.records(ended)

    assert isinstance(record, Round)
    (seen,) = record.seen
    assert len(seen.distances) == len(seen.errors) == 2
    assert seen.own == ()
    assert (seen.tokens, seen.samples, seen.tokens_total, seen.samples_total) == (7, 3, 70, 30)
    assert (record.tokens_total, record.samples_total) == (record.tokens, record.samples)


def test_one_kind_of_evidence_stands_once_and_an_own_measure_where_it_is_not_0(
    script: Any, alice: Any
) -> None:
    bench = script.Bench(trust=TrustConfig(strategy="fomo"), rounds={"guard": False})
    _, effects = gathered(bench, alice)
    weigh = script.only(effects, Weigh)
    told = Weighed(request=weigh.request, author=weigh.author, distances=(-2.0,), errors=(0.25,), own=(-1.0,))
    (record,) = script.records(bench.finish(bench.tell(told)))

    (seen,) = record.seen
    assert (seen.distance, seen.error, seen.distances, seen.errors, seen.own) == (-2.0, 0.25, (), (), (-1.0,))
    assert seen.weight == 2 / 3


def test_the_company_of_a_merge_is_kept_where_the_peer_wants_it(script: Any, alice: Any, bob: Any) -> None:
    bench = script.Bench(keep_neighbours=True)
    bob.update = script.update_of([5.0, 5.0, 5.0, 5.0])
    ended = bench.finish(gathered(bench, alice, bob)[1])
    company = script.only(ended, Keep).company
    record = script.only(ended, Log).record

    assert (company.peer, company.round, company.self_weight) == (record.peer, 0, record.self_weight)
    assert [(one.peer, one.name, one.weight) for one in company.members] == [
        (one.peer, one.name, one.weight) for one in record.seen
    ]
    assert {one.update for one in company.members} == {alice.update, bob.update}
    assert {one.evidence for one in company.members} == {script.EVIDENCE}
    # The toy's snapshot is its adapter, and the next state has been merged.
    assert company.snapshot != script.only(ended, Store).saved.snapshot


def test_the_kept_state_is_the_one_that_was_announced(script: Any, alice: Any) -> None:
    bench = script.Bench(keep_neighbours=True)
    saving, effects = gathered(bench, alice)

    assert (
        script.only(bench.finish(effects), Keep).company.snapshot == script.only(saving, Store).saved.snapshot
    )


def test_nothing_is_kept_unasked_or_of_nobody(script: Any, alice: Any) -> None:
    unasked = script.Bench()
    assert not script.every(unasked.finish(gathered(unasked, alice)[1]), Keep)
    lonely = script.Bench(keep_neighbours=True)
    ended = lonely.answer(lonely.publish())
    assert script.only(ended, Log).record.guard == "alone"
    assert not script.every(ended, Keep)
