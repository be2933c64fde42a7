"""The others: greetings, what is judged how, and who is waited for."""

from __future__ import annotations

import pytest

from peers.core.effects import Answer, Drop, Greet, Publish, Pull, Stop, Verdict, WakeAt
from peers.core.events import (
    Comparing,
    Connected,
    Disconnected,
    Event,
    Greeted,
    Heard,
    Misbehaved,
    NotPulled,
    Replied,
    Started,
    Woke,
)
from peers.core.others.standing.budgets import GREETINGS_OF_PEER, GREETINGS_OF_SOURCE
from peers.core.round.stages import Gathering, Saving
from sim.toy.learner import EVIDENCE, fingerprints
from support.core_bench import NET, Bench, RemotePeer
from support.effects import answered_reply, every, notes, only, refusals, round_record, verdict
from support.running_core import neighbourhood
from wire.codec import decode_announcement, decode_greeting, encode_reply
from wire.digest import Content
from wire.messages import Reply

# -- greetings --------------------------------------------------------------------------------------


def test_whoever_connects_is_greeted_once_we_know_what_to_say(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.tell(Started())
    assert not every(bench.tell(Connected(peer=alice.id)), Greet)
    assert only(bench.tell(alice.greet()), Answer).reply is None
    assert only(bench.answer(effects), Greet).peer == alice.id


def test_a_late_joiner_is_given_what_it_lacks_and_not_what_it_has(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    open_bench.receive(alice, 7)
    open_bench.receive(bob, 3)

    reply = answered_reply(open_bench.tell(bob.greet((alice, 6))))
    rounds = {(one.author, one.round) for one in (decode_announcement(f).announcement for f in reply.frames)}
    assert rounds == {(alice.keys.public_key, 7), (bob.keys.public_key, 3)}

    reply = answered_reply(open_bench.tell(bob.greet((alice, 7), (bob, 3))))
    assert reply.frames == ()


def test_our_own_announcement_is_given_and_not_asked_for(bench: Bench, alice: RemotePeer) -> None:
    frame = only(bench.publish(), Publish).frame
    me = RemotePeer("me")

    reply = answered_reply(bench.tell(alice.greet()))
    assert [decode_announcement(one).digest for one in reply.frames] == [decode_announcement(frame).digest]
    assert answered_reply(bench.tell(alice.greet((me, 0)))).frames == ()
    greeting = decode_greeting(only(bench.tell(Connected(peer=alice.id)), Greet).greeting)
    assert [(one.author, one.round) for one in greeting.latest] == [(me.keys.public_key, 0)]


def test_words_so_old_that_nobody_would_merge_them_are_not_handed_on(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.start()
    bench.receive(alice, 0)
    given: list[int] = []
    for _ in range(7):
        effects = bench.finish(bench.publish(bench.answer(effects)))
        reply = answered_reply(bench.tell(RemotePeer("new").greet()))
        given.append(len(reply.frames))
    assert given == [2, 2, 2, 2, 1, 1, 1]


def test_what_a_reply_brings_is_checked_and_fetched(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    reply = Reply(
        net=NET,
        fingerprints=fingerprints(),
        frames=(alice.announce(5, inline=False), b"garbage"),
    )
    open_bench.tell(Connected(peer=alice.id))
    effects = open_bench.tell(Replied(reply=encode_reply(reply), via=bob.id))
    assert only(effects, Pull).digest == alice.update.digest
    assert refusals(effects) == [(bob.id, "frame.magic")]


def test_a_reply_has_seated_neighbours_first_and_then_one_of_each_source_in_turn(open_bench: Bench) -> None:
    honest = [RemotePeer(f"honest{number}") for number in range(10)]
    for number, one in enumerate(honest):
        open_bench.tell(Connected(peer=one.id, group=f"v4:198.51.100.{number}"))
        open_bench.tell(Heard(frame=one.announce(), via=one.id))
    mallory = RemotePeer("mallory")
    open_bench.tell(Connected(peer=mallory.id, group="v4:203.0.113.7"))
    crowd = [RemotePeer(f"crowd{number}") for number in range(90)]
    for one in crowd:
        open_bench.tell(Heard(frame=one.announce(), via=mallory.id))
    for _ in range(2):
        neighbourhood(open_bench.core).seats.gained(crowd[77].id)

    reply = answered_reply(open_bench.tell(RemotePeer("late").greet()))

    names = [decode_announcement(frame).announcement.name for frame in reply.frames]
    assert names[0] == "crowd77"
    assert {one.name for one in honest} <= set(names[:12])


def test_greetings_are_answered_within_a_budget_for_each_peer(open_bench: Bench, alice: RemotePeer) -> None:
    answered = [only(open_bench.tell(alice.greet()), Answer).reply is not None for _ in range(50)]
    assert sum(answered) == GREETINGS_OF_PEER.burst
    assert only(open_bench.tell(RemotePeer("bob").greet()), Answer).reply is not None
    assert only(open_bench.tell(alice.greet(), after=30.0), Answer).reply is not None


def test_greetings_of_new_identities_are_answered_within_a_budget_for_their_source(open_bench: Bench) -> None:
    answered = 0
    for number in range(200):
        one = RemotePeer(f"new{number}")
        open_bench.tell(Connected(peer=one.id, group="v4:203.0.113.7"))
        answered += only(open_bench.tell(one.greet()), Answer).reply is not None
    assert answered == GREETINGS_OF_SOURCE.burst
    assert only(open_bench.tell(RemotePeer("bob").greet()), Answer).reply is not None


@pytest.mark.parametrize("event", [Greeted(greeting=b"?", via="x"), Replied(reply=b"?", via="x")])
def test_garbage_costs_who_sent_it(open_bench: Bench, event: Event) -> None:
    for _ in range(2):
        open_bench.tell(event)
    assert not open_bench.core.welcome("x", open_bench.now)


def test_neighbours_are_compared_with_in_turn(open_bench: Bench) -> None:
    others = [RemotePeer(name) for name in "abc"]
    open_bench.meet(*others)
    greeted = [only(open_bench.tell(Woke(timer=Comparing()), after=30.0), Greet).peer for _ in range(6)]
    assert sorted(greeted) == sorted(2 * [one.id for one in others])


def test_another_network_at_an_address_that_we_joined_stops_us(alice: RemotePeer) -> None:
    bench = Bench(joined=frozenset([alice.id]))
    bench.start()

    stop = only(bench.tell(alice.greet(network="elsewhere")), Stop)

    assert stop.code == 2
    assert "differs in its net: another network name than 'gossipllm'" in stop.why
    assert "[peer] network in peer.toml" in stop.why


def test_another_network_anywhere_else_is_reported_once_an_hour(open_bench: Bench, alice: RemotePeer) -> None:
    said = [
        refusals(open_bench.tell(alice.greet(network="elsewhere"), after=after))
        for after in (0.0, 60.0, 3500.0, 60.0)
    ]
    assert said == [[(alice.id, "net")], [], [], [(alice.id, "net")]]


def test_another_network_name_is_told_apart_from_another_model(open_bench: Bench, alice: RemotePeer) -> None:
    effects = open_bench.tell(alice.greet(network="elsewhere"))
    assert refusals(effects) == [(alice.id, "net")]


def test_what_was_too_much_to_report_is_reported_in_one_line_when_neighbours_are_compared(
    open_bench: Bench,
) -> None:
    for number in range(50):
        stranger = RemotePeer(f"stranger{number}")
        open_bench.tell(Connected(peer=stranger.id, group="v4:203.0.113.7"))
        open_bench.tell(stranger.greet(network="elsewhere"))
    assert notes(open_bench.tell(Woke(timer=Comparing()), after=599.0)) == []
    (line,) = notes(open_bench.tell(Woke(timer=Comparing()), after=30.0))
    assert line == "and 47 more refusals of 1 kind by 1 connection, not listed one by one"


def test_once_among_our_own_a_joined_peer_that_changes_its_network_stops_nobody(alice: RemotePeer) -> None:
    bench = Bench(joined=frozenset([alice.id]))
    bench.start()
    bench.meet(alice)
    assert not every(bench.tell(alice.greet(network="elsewhere")), Stop)


# -- announcements ----------------------------------------------------------------------------------


def test_before_the_learner_is_open_every_frame_is_ignored(bench: Bench, alice: RemotePeer) -> None:
    bench.tell(Started())
    assert verdict(bench.tell(Heard(frame=alice.announce(0), via=alice.id))) is Verdict.IGNORE


def test_good_frames_are_passed_on_and_their_blobs_fetched(open_bench: Bench, alice: RemotePeer) -> None:
    effects = open_bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert verdict(effects) is Verdict.ACCEPT
    pull = only(effects, Pull)
    assert (pull.digest, pull.size) == (alice.update.digest, alice.update.size)


def test_a_stranger_of_another_network_costs_nobody_and_is_not_fetched(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    frame = alice.announce(0, net=bytes(32))
    effects = open_bench.tell(Heard(frame=frame, via=bob.id))
    assert verdict(effects) is Verdict.IGNORE
    assert not every(effects, Pull)
    assert open_bench.core.welcome(bob.id, open_bench.now)


def test_equivocation_is_passed_on_once_and_its_author_is_out(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    open_bench.tell(Connected(peer=alice.id))
    open_bench.receive(alice, 3)
    assert open_bench.core.blob(alice.update.digest, "someone") is not None

    proof = open_bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))

    assert verdict(proof) is Verdict.ACCEPT
    assert refusals(proof) == [(alice.id, "announcement.round")]
    assert only(proof, Drop).peer == alice.id
    assert open_bench.core.blob(alice.update.digest, "someone") is None
    assert open_bench.core.welcome(bob.id, open_bench.now)
    for frame in (alice.announce(3, tokens=3), alice.announce(4)):
        assert verdict(open_bench.tell(Heard(frame=frame, via=bob.id))) is Verdict.IGNORE


def test_bad_inline_evidence_bans_its_author_and_not_who_passed_it_on(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    alice.evidence = Content.of(b"\xff" * EVIDENCE.size)
    effects = open_bench.tell(Heard(frame=alice.announce(0), via=bob.id))
    assert verdict(effects) is Verdict.IGNORE
    assert not open_bench.core.welcome(alice.id, open_bench.now)
    assert open_bench.core.welcome(bob.id, open_bench.now)


def test_who_breaks_the_protocol_below_is_fined_and_dropped(open_bench: Bench, alice: RemotePeer) -> None:
    open_bench.tell(Connected(peer=alice.id))
    effects = open_bench.tell(Misbehaved(peer=alice.id, field="frame", why="too long", fine=-25.0))
    assert only(effects, Drop).peer == alice.id
    assert only(open_bench.tell(Connected(peer=alice.id)), Drop).peer == alice.id


# -- who is waited for ------------------------------------------------------------------------------


def test_blobs_that_came_while_we_waited_are_weighed_at_once(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.start()
    bench.meet(alice)
    waiting = bench.publish(bench.answer(effects))
    assert isinstance(bench.core.stage, Gathering)
    assert every(waiting, WakeAt)
    bench.answer(bench.receive(alice))
    assert not isinstance(bench.core.stage, Gathering | Saving)


def test_a_neighbour_that_left_is_not_waited_for(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.start()
    bench.meet(alice)
    bench.publish(bench.answer(effects))
    effects = bench.tell(Disconnected(peer=alice.id))
    assert bench.finish(effects)


def test_who_announces_what_cannot_be_fetched_is_not_waited_for(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.start()
    bench.meet(alice)
    for round_ in range(2):
        pull = only(bench.tell(Heard(frame=alice.announce(round_), via=alice.id)), Pull)
        assert neighbourhood(bench.core).awaiting.is_awaited(alice.id)
        bench.tell(NotPulled(request=pull.request, why="not here"))
    assert not neighbourhood(bench.core).awaiting.is_awaited(alice.id)

    bench.receive(alice, 2)
    assert neighbourhood(bench.core).awaiting.is_awaited(alice.id)
    assert effects


def test_to_greet_again_and_again_is_not_to_have_something_to_say(bench: Bench, alice: RemotePeer) -> None:
    effects = bench.start()
    bench.meet(alice)
    for _ in range(2):
        effects = bench.publish(bench.answer(effects))
        effects = bench.answer(bench.lose_patience(effects))
        bench.tell(alice.greet())
    assert not neighbourhood(bench.core).awaiting.is_awaited(alice.id)


def test_news_that_comes_while_we_merge_is_fresh_in_the_next_round(bench: Bench, alice: RemotePeer) -> None:
    """It is behind us by its own count, as a late joiner's is, and still we have not had a round to use it in."""
    effects = bench.start()
    for _ in range(3):
        effects = bench.finish(bench.publish(bench.answer(effects)))
    merging = bench.publish(bench.answer(effects))
    bench.receive(alice, 0)
    ended = bench.finish(bench.publish(bench.answer(bench.finish(merging))))
    assert [(seen.name, seen.age) for seen in round_record(ended).seen] == [("alice", 0)]
