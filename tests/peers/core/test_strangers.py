"""What peers of other bases cannot do: lie about sizes, show two bases, push out others, have honest peers fined."""

from __future__ import annotations

import pytest

from gossipllm.work import Weigh
from peers.core.effects import Drop, Effect, Pull, Verdict
from peers.core.events import Connected, Heard
from peers.core.others.inbox import MAX_AUTHORS
from sim.toy.learner import EVIDENCE
from support.core_bench import Bench, RemotePeer, RoundOptions
from support.effects import every, requests, verdict
from support.messages import AnnouncementFields
from support.mixed_company import (
    CONFIRMING,
    HUGE,
    OTHER,
    hear,
)


def test_our_base_with_an_update_of_another_size_is_refused_before_the_fetch(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()

    effects = bench.tell(Heard(frame=stranger.announce(update=HUGE), via=stranger.id))

    assert verdict(effects) is Verdict.REJECT
    assert not every(effects, Pull)


def test_another_base_with_an_update_of_any_size_is_passed_on_and_costs_nothing(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()

    frame = stranger.announce(update=HUGE, fingerprints=OTHER, inline=False)
    effects = bench.tell(Heard(frame=frame, via=stranger.id))

    assert verdict(effects) is Verdict.ACCEPT
    assert [pull.digest for pull in every(effects, Pull)] == [EVIDENCE.digest]


def test_a_peer_that_changes_its_base_is_taken_at_its_word_and_not_banned(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.meet(stranger)
    hear(bench, stranger, 0, foreign=False)

    changed = hear(bench, stranger, 1, foreign=True)
    back = hear(bench, stranger, 2, foreign=False)

    assert verdict(changed) is verdict(back) is Verdict.ACCEPT
    assert bench.core.welcome(stranger.id, bench.now)
    assert stranger.update.digest not in {pull.digest for pull in every(changed, Pull)}


def test_two_bases_in_one_round_are_equivocation(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.meet(stranger)
    hear(bench, stranger, 0, foreign=False)

    effects = bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=OTHER), via=stranger.id))

    assert every(effects, Drop)
    assert not bench.core.welcome(stranger.id, bench.now)


def test_a_peer_of_another_base_is_not_fined_for_a_lie_that_it_passed_on(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    bench.meet(kin)

    def lie(number: int, via: RemotePeer) -> list[Effect]:
        return bench.tell(Heard(frame=RemotePeer(f"liar{number}").announce(update=HUGE), via=via.id))

    passed_on = [lie(number, stranger) for number in range(200)]
    by_kin = [lie(1000, kin), lie(1001, kin)]

    assert {verdict(one) for one in passed_on} == {Verdict.IGNORE}
    assert not any(every(one, Drop) for one in passed_on), "liars must not part honest peers of two bases"
    assert {verdict(one) for one in by_kin} == {Verdict.REJECT}
    assert every(by_kin[-1], Drop)


@pytest.mark.parametrize("foreign_flood", [True, False])
def test_a_thousand_strangers_push_out_each_other_and_not_the_other_kind(
    kin: RemotePeer, foreign_flood: bool
) -> None:
    rounds: RoundOptions = {"most_partners": 2, "explore": 1}
    bench = Bench(defence=CONFIRMING, rounds=rounds)
    effects = bench.start()
    hear(bench, kin, foreign=not foreign_flood)
    for number in range(MAX_AUTHORS + 50):
        bench.tell(Connected(peer=f"door{number}", group=f"v4:198.51.{number // 250}.{number % 250}"))
        one = RemotePeer(f"stranger{number}")
        fields: AnnouncementFields = {"fingerprints": OTHER} if foreign_flood else {}
        bench.now += 1.0
        bench.tell(Heard(frame=one.announce(inline=False, **fields), via=f"door{number}"))

    published = bench.publish(bench.answer(effects))

    weighed = {one.author for one in requests(published) if isinstance(one, Weigh)}
    assert kin.id in weighed
