"""Whom a round waits for, how long, and whom it takes along."""

from __future__ import annotations

import msgspec

from gossipllm.work import Evaluate, Merge, Weigh
from peers.core.effects import WakeAt
from peers.core.events import Connected, Heard
from peers.core.round.gathering import SHORT_ROUND_S
from peers.core.round.stages import Gathering
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only, round_record
from trust.rows.rows import TrustConfig


def test_the_round_waits_for_a_neighbour_that_it_met_until_patience_ends(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    waiting = bench.publish(bench.answer(effects))

    assert isinstance(bench.core.stage, Gathering)
    assert only(bench.lose_patience(waiting), Merge).row == (1.0,)


def test_a_neighbour_that_never_says_anything_is_waited_for_in_two_rounds_only(bench: Bench) -> None:
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    waited: list[bool] = []
    for _ in range(4):
        effects = bench.publish(bench.answer(effects))
        waited.append(not every(effects, Merge))
        effects = bench.answer(bench.lose_patience(effects) if waited[-1] else effects)

    assert waited == [True, True, False, False]


def test_a_stranger_that_never_greeted_is_not_waited_for(bench: Bench) -> None:
    effects = bench.start()
    bench.tell(Connected(peer="stranger"))
    assert only(bench.publish(bench.answer(effects)), Merge).row == (1.0,)


def test_the_wait_ends_when_everybody_who_is_awaited_is_here(bench: Bench) -> None:
    alice, bob = RemotePeer("alice"), RemotePeer("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    bench.publish(bench.answer(effects))

    assert not every(bench.answer(bench.receive(alice)), Evaluate)
    assert every(bench.answer(bench.receive(bob)), Evaluate)


def test_a_quorum_ends_the_wait_early() -> None:
    bench = Bench(rounds={"quorum": 1})
    alice, bob = RemotePeer("alice"), RemotePeer("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    bench.publish(bench.answer(effects))
    assert every(bench.answer(bench.receive(alice)), Evaluate)


def test_patience_is_no_longer_than_the_local_steps_took() -> None:
    """Else a device ten times as fast as its neighbour would be held to the neighbour's pace."""
    bench = Bench(rounds={"patience_s": 1000.0})
    effects = bench.start()
    trained = msgspec.structs.replace(bench.answer_to(effects), seconds=60.0)
    wakes = every(bench.publish(bench.tell(trained)), WakeAt)
    assert [one.at - bench.now for one in wakes] == [60.0]

    bench = Bench(rounds={"patience_s": 1000.0})
    wakes = every(bench.publish(), WakeAt)
    assert [one.at - bench.now for one in wakes] == [SHORT_ROUND_S]


def test_a_neighbour_that_announces_again_and_again_does_not_keep_us(bench: Bench) -> None:
    """Once patience has ended, what is being weighed is the last."""
    alice, bob = RemotePeer("alice"), RemotePeer("bob")
    effects = bench.start()
    bench.meet(alice, bob)
    waiting = bench.publish(bench.answer(effects))
    weighing = bench.receive(alice, 0)
    bench.lose_patience(waiting)
    for round_ in range(1, 20):
        assert not every(bench.receive(alice, round_), Weigh)

    assert every(bench.answer(weighing), Evaluate)


def test_a_resting_neighbour_far_ahead_is_not_waited_for(bench: Bench) -> None:
    """It finished all its rounds; its last word is used while it is young, and never awaited again."""
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.receive(alice, 30)
    waited: list[bool] = []
    members: list[int] = []
    for _ in range(8):
        effects = bench.publish(bench.answer(effects))
        waited.append(not (every(effects, Merge) or every(effects, Weigh)))
        effects = bench.finish(effects)
        members.append(len(round_record(effects).seen))

    assert waited == [False] * 8
    assert members == [1, 1, 1, 1, 1, 0, 0, 0]


def test_local_training_waits_for_nobody_and_fetches_nothing() -> None:
    bench = Bench(trust=TrustConfig(strategy="local"))
    alice = RemotePeer("alice")
    effects = bench.start()
    bench.meet(alice)
    bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert only(bench.publish(bench.answer(effects)), Merge).row == (1.0,)


def test_at_most_as_many_are_merged_as_are_partners() -> None:
    bench = Bench(rounds={"most_partners": 2, "explore": 1})
    effects = bench.start()
    for number, name in enumerate("abcdefgh"):
        bench.receive(RemotePeer(name, update=update_of([1.0, 0.5, 0.0, number / 8])))
    ended = bench.finish(bench.publish(bench.answer(effects)))
    assert len(round_record(ended).seen) == 2
