"""Blocked by the user: no connection, nothing fetched, no weight; and back again."""

from __future__ import annotations

from peers.core.effects import Drop, Pull, Verdict
from peers.core.events import Blocked, Connected, Heard, Started
from support.core_bench import Bench, RemotePeer
from support.effects import every, notes, only, round_record, verdict
from support.running_core import neighbourhood


def test_a_blocked_peer_loses_its_connection_and_gets_none(open_bench: Bench, alice: RemotePeer) -> None:
    open_bench.meet(alice)
    effects = open_bench.tell(Blocked(peers=(alice.id,)))
    assert only(effects, Drop).peer == alice.id
    assert notes(effects) == [f"1 peer is blocked, now also {alice.id}"]
    assert not open_bench.core.welcome(alice.id, open_bench.now)
    assert only(open_bench.tell(Connected(peer=alice.id)), Drop).peer == alice.id
    assert open_bench.core.standing(alice.id) == 0.0


def test_nothing_of_it_is_taken_or_fetched_whoever_passes_it_on(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    open_bench.receive(alice)
    open_bench.tell(Blocked(peers=(alice.id,)))
    assert open_bench.core.blob(alice.update.digest, bob.id) is None
    effects = open_bench.tell(Heard(frame=alice.announce(1), via=bob.id))
    assert verdict(effects) is Verdict.IGNORE
    assert not every(effects, Pull)
    assert verdict(open_bench.tell(Heard(frame=bob.announce(), via=bob.id))) is Verdict.ACCEPT


def test_it_takes_no_part_in_a_round_that_has_weighed_it(
    bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    effects = bench.start()
    bench.meet(alice, bob)
    effects = bench.publish(bench.answer(effects))
    bench.answer(bench.receive(alice))
    bench.tell(Blocked(peers=(alice.id,)))
    effects = bench.receive(bob)
    ended = bench.finish(effects)
    assert [seen.name for seen in round_record(ended).seen] == ["bob"]


def test_a_round_waits_for_no_blocked_peer(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.start()
    bench.meet(alice)
    bench.publish(bench.answer(effects))
    assert bench.finish(bench.tell(Blocked(peers=(alice.id,))))


def test_a_seat_is_no_way_around_and_is_there_again_afterwards(open_bench: Bench, alice: RemotePeer) -> None:
    seats = neighbourhood(open_bench.core).seats
    for _ in range(2):
        seats.gained(alice.id)
    open_bench.tell(Blocked(peers=(alice.id,)))
    assert every(open_bench.tell(Connected(peer=alice.id)), Drop)
    open_bench.tell(Blocked(peers=()))
    assert open_bench.core.welcome(alice.id, open_bench.now)
    assert not every(open_bench.tell(Connected(peer=alice.id)), Drop)
    assert verdict(open_bench.tell(Heard(frame=alice.announce(1), via=alice.id))) is Verdict.ACCEPT


def test_the_same_list_again_is_no_news(open_bench: Bench, alice: RemotePeer) -> None:
    open_bench.tell(Blocked(peers=(alice.id,)))
    assert open_bench.tell(Blocked(peers=(alice.id,))) == []


def test_a_peer_is_blocked_before_the_learner_is_open(bench: Bench, alice: RemotePeer) -> None:
    bench.tell(Started())
    bench.tell(Connected(peer=alice.id))
    assert only(bench.tell(Blocked(peers=(alice.id,))), Drop).peer == alice.id
