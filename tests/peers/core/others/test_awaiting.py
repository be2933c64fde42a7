"""Whom a round waits for, and how often in vain."""

from __future__ import annotations

from peers.core.config import NO_DEFENCE, DefenceConfig
from peers.core.effects import WakeAt
from peers.core.events import Connected
from peers.core.others.awaiting import VAIN_WAITS, VAIN_WAITS_OF_GROUP, Awaiting
from support.core_bench import Bench, RemotePeer
from support.effects import every, requests
from support.running_core import neighbourhood

CROWD = "v4:203.0.113.7"


def waiting(bench: Bench) -> Awaiting:
    return neighbourhood(bench.core).awaiting


def join(bench: Bench, name: str, group: str = CROWD) -> RemotePeer:
    one = RemotePeer(name)
    bench.tell(Connected(peer=one.id, group=group))
    bench.tell(one.greet())
    return one


def test_a_silent_stranger_holds_two_rounds_and_no_more() -> None:
    bench = Bench(defence=DefenceConfig())
    bench.start()
    stranger = join(bench, "stranger")
    for _ in range(VAIN_WAITS):
        assert waiting(bench).is_awaited(stranger.id)
        waiting(bench).waited_in_vain([stranger.id])
    assert not waiting(bench).is_awaited(stranger.id)


def test_new_identities_of_one_address_hold_no_more_rounds_together_than_a_few() -> None:
    bench = Bench(defence=DefenceConfig())
    bench.start()
    held = 0
    for number in range(100):
        stranger = join(bench, f"stranger{number}")
        held += waiting(bench).is_awaited(stranger.id)
        if waiting(bench).is_awaited(stranger.id):
            waiting(bench).waited_in_vain([stranger.id])
    assert held == VAIN_WAITS_OF_GROUP
    assert waiting(bench).is_awaited(join(bench, "elsewhere", "v4:198.51.100.1").id)


def test_a_seated_neighbour_is_awaited_however_often_it_was_late() -> None:
    bench = Bench(defence=DefenceConfig())
    bench.start()
    friend = join(bench, "friend")
    for _ in range(VAIN_WAITS_OF_GROUP):
        waiting(bench).waited_in_vain([friend.id])
    bench.receive(friend)
    assert not waiting(bench).is_awaited(friend.id)
    for _ in range(2):
        neighbourhood(bench.core).seats.gained(friend.id)
    assert waiting(bench).is_awaited(friend.id)


def test_who_announces_in_every_other_round_holds_two_of_the_others_and_no_more() -> None:
    bench = Bench(defence=DefenceConfig())
    effects = bench.start()
    liar = join(bench, "liar")
    held: list[int] = []
    for round_ in range(8):
        if round_ % 2:
            bench.receive(liar, round_)
        effects = bench.publish(bench.answer(effects))
        if every(effects, WakeAt) and not requests(effects):
            held.append(round_)
            effects = bench.lose_patience(effects)
        effects = bench.finish(effects)
    assert held == [0, 2]


def test_with_a_barrier_or_without_confirmed_gains_nothing_is_counted() -> None:
    for bench in (Bench(rounds={"barrier": True}, defence=DefenceConfig()), Bench(defence=NO_DEFENCE)):
        bench.start()
        stranger = join(bench, "stranger")
        for _ in range(VAIN_WAITS_OF_GROUP):
            waiting(bench).waited_in_vain([stranger.id])
        assert waiting(bench).is_awaited(stranger.id)
