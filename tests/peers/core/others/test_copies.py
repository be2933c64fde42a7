"""A peer whose home exists twice finds that out, says so and stops."""

from __future__ import annotations

import pytest

from peers.core.effects import Effect, Publish, Stop, Store
from peers.core.events import Heard, Misbehaved, Started
from sim.world.keys import ToyKeys
from support.core_bench import Bench, RemotePeer
from support.effects import every, notes, only, refusals


def heard(bench: Bench, frame: bytes) -> list[Effect]:
    return bench.tell(Heard(frame=frame, via="neighbour"))


def copy_of(bench: Bench) -> RemotePeer:
    """A process with the key of this peer, and another state."""
    return RemotePeer("copy", keys=bench.keys)


def test_an_announcement_of_a_later_round_by_our_own_key_stops_the_peer(bench: Bench) -> None:
    bench.publish()

    stop = only(heard(bench, copy_of(bench).announce(7)), Stop)

    assert stop.code == 2
    assert "a copy of the home runs elsewhere" in stop.why
    assert "--after-round 7" in stop.why


def test_another_announcement_of_our_own_round_stops_the_peer(bench: Bench) -> None:
    bench.publish()

    assert only(heard(bench, copy_of(bench).announce(0)), Stop).code == 2


def test_our_own_announcement_that_comes_back_is_no_copy(bench: Bench) -> None:
    frame = only(bench.publish(), Publish).frame

    assert not every(heard(bench, frame), Stop)


def test_after_a_restart_our_earlier_announcements_that_come_back_are_no_copy(bench: Bench) -> None:
    announced = bench.train()
    effects = bench.publish(announced)
    ended = bench.finish(effects)
    for stored in (announced, ended):
        again = Bench(saved=only(stored, Store).saved)
        again.start()

        assert not every(heard(again, only(effects, Publish).frame), Stop)


def test_a_restored_home_hears_what_it_announced_since_and_stops_before_it_announces_again(
    bench: Bench,
) -> None:
    bench.start()

    assert only(heard(bench, copy_of(bench).announce(3)), Stop).code == 2


def test_who_forges_our_name_is_fined_and_stops_nobody(bench: Bench) -> None:
    bench.publish()
    forged = copy_of(bench).announce(9, sign=ToyKeys.of("mallory").sign)

    effects = heard(bench, forged)

    assert not every(effects, Stop)
    assert refusals(effects) == [("neighbour", "announcement.signature")]


@pytest.mark.parametrize("opened", [True, False])
def test_our_own_key_at_the_other_end_of_a_connection_stops_the_peer(bench: Bench, opened: bool) -> None:
    if opened:
        bench.start()
    else:
        bench.tell(Started())

    stop = only(
        bench.tell(Misbehaved(peer=bench.keys.peer_id, field="identity", why="192.0.2.7", fine=0.0)), Stop
    )

    assert stop.code == 2
    assert stop.why.startswith("the peer at 192.0.2.7 has this peer's key: a copy of this home runs there")


def test_a_neighbour_says_once_that_a_home_may_run_twice(bench: Bench) -> None:
    bench.start()
    twice = RemotePeer("twice")
    bench.tell(Heard(frame=twice.announce(1), via="neighbour"))
    other = RemotePeer("twice", keys=twice.keys).announce(1, tokens=2)

    said = [str(one) for one in heard(bench, other) if "a copy of its home runs elsewhere" in str(one)]

    assert len(said) == 1
    assert not notes(heard(bench, other))
