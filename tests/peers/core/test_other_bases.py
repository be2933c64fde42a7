"""One network, several bases: who merges, who is compared, who teaches, and whom a round waits for."""

from __future__ import annotations

import pytest

from gossipllm.work import Confirm, Merge, Weigh
from peers.core.effects import Effect, Pull
from peers.core.events import Connected, Heard, NotPulled
from sim.toy.learner import EVIDENCE
from support.core_bench import Bench, RemotePeer
from support.effects import every, requests, round_record
from support.mixed_company import (
    CONFIRMING,
    DISTILS,
    OTHER,
    asked,
    hear,
)


def test_of_another_base_the_predictions_are_fetched_and_never_the_update(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.meet(kin, stranger)

    of_kin = {pull.digest for pull in every(hear(bench, kin, foreign=False), Pull)}
    of_stranger = {pull.digest for pull in every(hear(bench, stranger, foreign=True), Pull)}

    assert kin.update.digest in of_kin
    assert of_stranger <= {EVIDENCE.digest}
    assert bench.core.blob(stranger.update.digest, kin.id) is None


def test_another_base_is_measured_by_its_predictions_and_has_no_weight(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    hear(bench, kin, foreign=False)
    hear(bench, stranger, foreign=True)

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    weighed = {one.author: one.update for one in seen if isinstance(one, Weigh)}
    assert weighed == {kin.id: kin.update, stranger.id: None}
    assert all(one.author != stranger.id for ask in seen if isinstance(ask, Confirm) for one in ask.finalists)
    (merge,) = [one for one in seen if isinstance(one, Merge)]
    assert merge.updates == (kin.update,)
    assert merge.lessons == ()
    record = {one.peer: one for one in round_record(ended).seen}
    assert (record[stranger.id].relation, record[stranger.id].weight) == ("compares", 0.0)
    assert (record[kin.id].relation, record[kin.id].teaches) == ("merges", None)
    assert record[kin.id].weight > 0


def test_who_distils_learns_from_both_in_a_row_of_its_own(kin: RemotePeer, stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING, learner=DISTILS)
    effects = bench.start()
    hear(bench, kin, foreign=False)
    hear(bench, stranger, foreign=True)

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    (merge,) = [one for one in seen if isinstance(one, Merge)]
    assert merge.updates == (kin.update,)
    assert {one.update for one in merge.lessons} == {kin.update, None}
    record = {one.peer: one for one in round_record(ended).seen}
    assert record[stranger.id].relation == "distils"
    weights = {one.update: one.weight for one in merge.lessons}
    assert record[stranger.id].teaches == weights[None]
    assert record[kin.id].teaches == weights[kin.update]
    assert sum(weights.values()) < 1
    assert weights[None] <= CONFIRMING.newcomers


def test_many_strangers_together_teach_no_more_than_newcomers_may(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING, learner=DISTILS)
    effects = bench.start()
    for number in range(12):
        hear(bench, RemotePeer(f"stranger{number}"), foreign=True)

    seen, _ = asked(bench, bench.publish(bench.answer(effects)))

    (merge,) = [one for one in seen if isinstance(one, Merge)]
    assert (merge.row, merge.updates) == ((1.0,), ())
    assert 0 < sum(one.weight for one in merge.lessons) <= CONFIRMING.newcomers + 1e-9


# -- another tokenizer --------------------------------------------------------------------------------


def test_a_round_waits_for_nobody_of_another_base(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    hear(bench, stranger, foreign=True)

    first = bench.publish(bench.answer(effects))
    seen, ended = asked(bench, first)
    second = bench.publish(bench.answer(ended))

    assert any(isinstance(one, Merge) for one in seen)
    assert requests(second), "the stranger announced nothing for this round, and is not waited for"


def test_a_round_waits_for_predictions_of_another_base_that_are_on_their_way(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    (pull,) = every(
        bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=OTHER), via=stranger.id)), Pull
    )

    published = bench.publish(bench.answer(effects))
    arrived = bench.give(pull, stranger)

    assert not requests(published), "its announcement is here"
    assert any(isinstance(one, Weigh) for one in requests(arrived))


@pytest.mark.parametrize("later", [False, True])
def test_a_round_does_not_wait_for_predictions_that_did_not_come(stranger: RemotePeer, later: bool) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    heard = bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=OTHER), via=stranger.id))
    published = bench.publish(bench.answer(effects))

    waiting, ended = every(heard, Pull), list[Effect]()
    while waiting:
        ended += bench.tell(NotPulled(request=waiting.pop(0).request, why="-", later=later))
        waiting += every(ended[-1:], Pull)

    assert not requests(published)
    assert any(isinstance(one, Merge) for one in requests(ended))
