"""The others: greetings, what is judged how, and what is fetched from whom, how often, and never again."""

from __future__ import annotations

from typing import Any

import pytest

from peers.core.effects import Answer, Drop, Greet, Judge, Publish, Pull, Stop, Verdict, WakeAt
from peers.core.events import (
    Comparing,
    Connected,
    Disconnected,
    Greeted,
    Heard,
    Misbehaved,
    NotPulled,
    Pulled,
    Replied,
    Started,
    Woke,
)
from peers.core.pulls import MAX_OPEN
from peers.core.stages import Gathering, Saving
from sim.toy import fingerprints
from trust.history import Refusal
from wire.codec import decode_announcement, decode_greeting, decode_reply, encode_reply
from wire.digest import Content
from wire.messages import Reply


@pytest.fixture
def alice(script: Any) -> Any:
    return script.Someone("alice")


@pytest.fixture
def bob(script: Any) -> Any:
    return script.Someone("bob")


@pytest.fixture
def open_bench(bench: Any) -> Any:
    bench.start()
    return bench


def verdict(effects: list[Any]) -> Verdict:
    return next(one.verdict for one in effects if isinstance(one, Judge))


def refusals(script: Any, effects: list[Any]) -> list[tuple[str, str]]:
    return [(one.about, one.field) for one in script.records(effects) if isinstance(one, Refusal)]


# -- greetings --------------------------------------------------------------------------------------


def test_whoever_connects_is_greeted_once_we_know_what_to_say(bench: Any, script: Any, alice: Any) -> None:
    effects = bench.tell(Started())
    assert not script.every(bench.tell(Connected(peer=alice.id)), Greet)
    assert script.only(bench.tell(alice.greet()), Answer).reply is None
    assert script.only(bench.answer(effects), Greet).peer == alice.id


def test_a_late_joiner_is_given_what_it_lacks_and_not_what_it_has(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    open_bench.receive(alice, 7)
    open_bench.receive(bob, 3)

    reply = decode_reply(script.only(open_bench.tell(bob.greet((alice, 6))), Answer).reply)
    rounds = {(one.author, one.round) for one in (decode_announcement(f).announcement for f in reply.frames)}
    assert rounds == {(alice.keys.public_key, 7), (bob.keys.public_key, 3)}

    reply = decode_reply(script.only(open_bench.tell(bob.greet((alice, 7), (bob, 3))), Answer).reply)
    assert reply.frames == ()


def test_our_own_announcement_is_given_and_not_asked_for(bench: Any, script: Any, alice: Any) -> None:
    frame = script.only(bench.publish(), Publish).frame
    me = script.Someone("me")

    reply = decode_reply(script.only(bench.tell(alice.greet()), Answer).reply)
    assert [decode_announcement(one).digest for one in reply.frames] == [decode_announcement(frame).digest]
    assert decode_reply(script.only(bench.tell(alice.greet((me, 0))), Answer).reply).frames == ()
    greeting = decode_greeting(script.only(bench.tell(Connected(peer=alice.id)), Greet).greeting)
    assert [(one.author, one.round) for one in greeting.latest] == [(me.keys.public_key, 0)]


def test_words_so_old_that_nobody_would_merge_them_are_not_handed_on(
    bench: Any, script: Any, alice: Any
) -> None:
    effects = bench.start()
    bench.receive(alice, 0)
    given = []
    for _ in range(7):
        effects = bench.finish(bench.publish(bench.answer(effects)))
        reply = decode_reply(script.only(bench.tell(script.Someone("new").greet()), Answer).reply)
        given.append(len(reply.frames))
    assert given == [2, 2, 2, 2, 1, 1, 1]


def test_what_a_reply_brings_is_checked_and_fetched(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    reply = Reply(
        net=script.NET,
        fingerprints=fingerprints(),
        frames=(alice.announce(5, inline=False), b"garbage"),
    )
    effects = open_bench.tell(Replied(reply=encode_reply(reply), via=bob.id))
    assert len(script.every(effects, Pull)) == 2
    assert refusals(script, effects) == [(bob.id, "frame.magic")]


@pytest.mark.parametrize("event", [Greeted(greeting=b"?", via="x"), Replied(reply=b"?", via="x")])
def test_garbage_costs_who_sent_it(open_bench: Any, script: Any, event: Any) -> None:
    for _ in range(2):
        open_bench.tell(event)
    assert not open_bench.core.welcome("x", open_bench.now)


def test_neighbours_are_compared_with_in_turn(open_bench: Any, script: Any) -> None:
    others = [script.Someone(name) for name in "abc"]
    open_bench.meet(*others)
    greeted = [
        script.only(open_bench.tell(Woke(timer=Comparing()), after=30.0), Greet).peer for _ in range(6)
    ]
    assert sorted(greeted) == sorted(2 * [one.id for one in others])


def test_another_base_at_an_address_that_we_joined_stops_us_with_both_fingerprints(
    script: Any, alice: Any
) -> None:
    bench = script.Bench(joined=frozenset([alice.id]))
    bench.start()

    stop = script.only(bench.tell(alice.greet(base="other")), Stop)

    assert stop.code == 2
    theirs, ours = fingerprints("other").base[:4].hex(), fingerprints().base[:4].hex()
    assert f"differs in its base: theirs {theirs}, ours {ours}" in stop.why
    assert "[model] name in peer.toml" in stop.why


def test_another_base_anywhere_else_is_reported_once_an_hour(
    open_bench: Any, script: Any, alice: Any
) -> None:
    said = [
        refusals(script, open_bench.tell(alice.greet(base="other"), after=after))
        for after in (0.0, 60.0, 3500.0, 60.0)
    ]
    assert said == [[(alice.id, "base")], [], [], [(alice.id, "base")]]


def test_another_network_name_is_told_apart_from_another_model(
    open_bench: Any, script: Any, alice: Any
) -> None:
    effects = open_bench.tell(alice.greet(network="elsewhere"))
    assert refusals(script, effects) == [(alice.id, "net")]


def test_once_among_our_own_a_joined_peer_that_changes_its_base_stops_nobody(script: Any, alice: Any) -> None:
    bench = script.Bench(joined=frozenset([alice.id]))
    bench.start()
    bench.meet(alice)
    assert not script.every(bench.tell(alice.greet(base="other")), Stop)


# -- announcements ----------------------------------------------------------------------------------


def test_before_the_learner_is_open_every_frame_is_ignored(bench: Any, alice: Any) -> None:
    bench.tell(Started())
    assert verdict(bench.tell(Heard(frame=alice.announce(0), via=alice.id))) is Verdict.IGNORE


def test_good_frames_are_passed_on_and_their_blobs_fetched(open_bench: Any, script: Any, alice: Any) -> None:
    effects = open_bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert verdict(effects) is Verdict.ACCEPT
    pull = script.only(effects, Pull)
    assert (pull.digest, pull.size) == (alice.update.digest, alice.update.size)


def test_a_stranger_of_another_network_costs_nobody_and_is_not_fetched(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    frame = alice.announce(0, fingerprints=fingerprints("other"))
    effects = open_bench.tell(Heard(frame=frame, via=bob.id))
    assert verdict(effects) is Verdict.IGNORE
    assert not script.every(effects, Pull)
    assert open_bench.core.welcome(bob.id, open_bench.now)


def test_equivocation_is_passed_on_once_and_its_author_is_out(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    open_bench.tell(Connected(peer=alice.id))
    open_bench.receive(alice, 3)
    assert open_bench.core.blob(alice.update.digest) is not None

    proof = open_bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))

    assert verdict(proof) is Verdict.ACCEPT
    assert refusals(script, proof) == [(alice.id, "announcement.round")]
    assert script.only(proof, Drop).peer == alice.id
    assert open_bench.core.blob(alice.update.digest) is None
    assert open_bench.core.welcome(bob.id, open_bench.now)
    for frame in (alice.announce(3, tokens=3), alice.announce(4)):
        assert verdict(open_bench.tell(Heard(frame=frame, via=bob.id))) is Verdict.IGNORE


def test_bad_inline_evidence_bans_its_author_and_not_who_passed_it_on(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    alice.evidence = Content.of(b"\xff" * script.EVIDENCE.size)
    effects = open_bench.tell(Heard(frame=alice.announce(0), via=bob.id))
    assert verdict(effects) is Verdict.IGNORE
    assert not open_bench.core.welcome(alice.id, open_bench.now)
    assert open_bench.core.welcome(bob.id, open_bench.now)


def test_who_breaks_the_protocol_below_is_fined_and_dropped(open_bench: Any, script: Any, alice: Any) -> None:
    open_bench.tell(Connected(peer=alice.id))
    effects = open_bench.tell(Misbehaved(peer=alice.id, field="frame", why="too long", fine=-25.0))
    assert script.only(effects, Drop).peer == alice.id
    assert script.only(open_bench.tell(Connected(peer=alice.id)), Drop).peer == alice.id


# -- blobs ------------------------------------------------------------------------------------------


def test_evidence_too_large_to_ride_along_is_fetched_with_the_update(
    open_bench: Any, script: Any, alice: Any
) -> None:
    effects = open_bench.tell(Heard(frame=alice.announce(0, inline=False), via=alice.id))
    assert {one.digest for one in script.every(effects, Pull)} == {alice.update.digest, alice.evidence.digest}


def test_a_failed_fetch_is_tried_again_by_other_ways(open_bench: Any, script: Any, alice: Any) -> None:
    others = [script.Someone(name) for name in "abcdef"]
    open_bench.meet(alice, *others)
    pull = script.only(open_bench.tell(Heard(frame=alice.announce(0), via=alice.id)), Pull)
    asked = set(pull.sources)
    for _ in range(8):
        assert not script.every(open_bench.tell(NotPulled(request=pull.request, why="gone")), Pull)
        pull = script.only(open_bench.tell(Woke(timer=Comparing()), after=30.0), Pull)
        assert pull.sources[0] == alice.id
        asked |= set(pull.sources)

    assert asked == {alice.id, *(one.id for one in others)}


def test_one_announcement_of_an_author_is_fetched_at_a_time_and_then_its_newest(
    open_bench: Any, script: Any, alice: Any
) -> None:
    first = script.only(open_bench.tell(Heard(frame=alice.announce(0), via=alice.id)), Pull)
    old = alice.update
    for round_ in range(1, 40):
        alice.update = script.update_of([1.0, 0.5, 0.0, round_ / 100])
        assert not script.every(open_bench.tell(Heard(frame=alice.announce(round_), via=alice.id)), Pull)

    then = open_bench.tell(Pulled(request=first.request, content=old))

    assert open_bench.core.blob(old.digest) is not None, "the older one counts until the newest is here"
    assert script.only(then, Pull).digest == alice.update.digest


def test_a_fetch_that_failed_is_followed_by_the_newest(open_bench: Any, script: Any, alice: Any) -> None:
    first = script.only(open_bench.tell(Heard(frame=alice.announce(0), via=alice.id)), Pull)
    alice.update = script.update_of([2.0, 0.0, 0.0, 0.0])
    open_bench.tell(Heard(frame=alice.announce(1), via=alice.id))
    then = open_bench.tell(NotPulled(request=first.request, why="gone"))
    assert script.only(then, Pull).digest == alice.update.digest


def test_no_flood_of_authors_opens_more_than_so_many_fetches(script: Any) -> None:
    bench = script.Bench(rounds={"most_partners": 256})
    bench.start()
    pulls = []
    for name in range(3 * MAX_OPEN):
        someone = script.Someone(str(name))
        pulls += script.every(bench.tell(Heard(frame=someone.announce(0), via=someone.id)), Pull)
    assert len(pulls) == MAX_OPEN


def test_what_is_held_of_strangers_is_bounded(script: Any) -> None:
    bench = script.Bench(rounds={"most_partners": 4, "explore": 4})
    bench.start()
    for number in range(200):
        bench.receive(script.Someone(str(number), update=script.update_of([1.0, 0.0, 0.0, number / 1000])))
    held = list(bench.core._others.inbox.complete())
    assert len(held) <= 8


def test_dead_authors_do_not_take_the_places_of_the_living(script: Any) -> None:
    bench = script.Bench(rounds={"most_partners": 2, "explore": 2})
    effects = bench.start()
    for number in range(100):
        bench.tell(Heard(frame=script.Someone(f"dead{number}").announce(0), via="x"))
    for _ in range(6):
        effects = bench.finish(bench.publish(bench.answer(effects)))
    alive = [script.Someone("alive"), script.Someone("kicking")]
    for one in alive:
        bench.receive(one, 50)
    ended = bench.finish(bench.publish(bench.answer(effects)))
    seen = {one.name for one in script.records(ended)[0].seen}
    assert seen == {"alive", "kicking"}


def test_an_update_that_holds_no_numbers_bans_its_author(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    alice.update = script.update_of([float("nan"), 0.0, 0.0, 0.0])
    open_bench.tell(Connected(peer=alice.id))
    effects = open_bench.receive(alice)
    assert refusals(script, effects) == [(alice.id, "update.w")]
    assert script.only(effects, Drop).peer == alice.id
    assert open_bench.core.blob(alice.update.digest) is None


def large(script: Any, name: str) -> Any:
    return script.Someone(name, update=script.update_of([1e6 + ord(name[0]), 0.0, 0.0, 0.0]))


def test_a_large_update_is_fetched_once_and_not_merged(bench: Any, script: Any) -> None:
    effects = bench.publish()
    mallory = large(script, "mallory")
    effects = bench.finish(effects)

    received = bench.receive(mallory)

    assert refusals(script, received) == [(mallory.id, "update.w")]
    for _ in range(5):
        assert not script.every(bench.tell(Woke(timer=Comparing()), after=30.0), Pull)
    assert bench.core.welcome(mallory.id, bench.now)
    ended = bench.finish(bench.publish(bench.answer(effects)))
    assert script.records(ended)[0].seen == ()


def test_a_newcomer_does_not_fine_those_who_are_larger_than_itself(bench: Any, script: Any) -> None:
    """Its own update is small because it has hardly begun; the third of the others is believed by the first two."""
    effects = bench.publish()
    veterans = [large(script, name) for name in "abcd"]
    for round_ in range(20):
        for veteran in veterans:
            bench.receive(veteran, round_)

    assert all(bench.core.welcome(one.id, bench.now) for one in veterans)
    assert {one.author for one in bench.core._others.inbox.complete()} == {one.id for one in veterans}
    assert effects


def test_one_large_among_many_is_fined(open_bench: Any, script: Any) -> None:
    for number in range(3):
        open_bench.receive(
            script.Someone(str(number), update=script.update_of([1.0, 0.0, 0.0, float(number)]))
        )
    mallory = large(script, "mallory")
    for round_ in range(4):
        open_bench.receive(mallory, round_)
    assert not open_bench.core.welcome(mallory.id, open_bench.now)


def test_a_blob_that_comes_after_its_author_was_banned_is_dropped(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    pull = script.only(open_bench.tell(Heard(frame=alice.announce(3), via=alice.id)), Pull)
    open_bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))
    assert open_bench.tell(Pulled(request=pull.request, content=alice.update)) == []
    assert open_bench.core.blob(alice.update.digest) is None


def test_an_answer_nobody_asked_for_is_nothing(open_bench: Any, alice: Any) -> None:
    assert open_bench.tell(Pulled(request=99, content=alice.update)) == []
    assert open_bench.tell(NotPulled(request=99, why="")) == []


def test_updates_and_predictions_of_different_announcements_never_meet(
    open_bench: Any, script: Any, alice: Any
) -> None:
    old = script.every(open_bench.tell(Heard(frame=alice.announce(0, inline=False), via=alice.id)), Pull)
    old_update, alice.update = alice.update, script.update_of([2.0, 0.0, 0.0, 0.0])
    open_bench.tell(Heard(frame=alice.announce(1, inline=False), via=alice.id))
    for pull in old:
        content = old_update if pull.digest == old_update.digest else alice.evidence
        open_bench.tell(Pulled(request=pull.request, content=content))

    (complete,) = open_bench.core._others.inbox.complete()
    assert complete.announcement.round == 0
    assert complete.update.digest == complete.announcement.update.digest


def test_blobs_that_came_while_we_waited_are_weighed_at_once(bench: Any, script: Any, alice: Any) -> None:
    effects = bench.start()
    bench.meet(alice)
    waiting = bench.publish(bench.answer(effects))
    assert isinstance(bench.core.stage, Gathering)
    assert script.every(waiting, WakeAt)
    bench.answer(bench.receive(alice))
    assert not isinstance(bench.core.stage, Gathering | Saving)


def test_a_neighbour_that_left_is_not_waited_for(bench: Any, script: Any, alice: Any) -> None:
    effects = bench.start()
    bench.meet(alice)
    bench.publish(bench.answer(effects))
    effects = bench.tell(Disconnected(peer=alice.id))
    assert bench.finish(effects)


def test_who_announces_what_cannot_be_fetched_is_not_waited_for(bench: Any, script: Any, alice: Any) -> None:
    effects = bench.start()
    bench.meet(alice)
    for round_ in range(2):
        pull = script.only(bench.tell(Heard(frame=alice.announce(round_), via=alice.id)), Pull)
        assert bench.core._others.is_awaited(alice.id)
        bench.tell(NotPulled(request=pull.request, why="not here"))
    assert not bench.core._others.is_awaited(alice.id)

    bench.receive(alice, 2)
    assert bench.core._others.is_awaited(alice.id)
    assert effects


def test_to_greet_again_and_again_is_not_to_have_something_to_say(
    bench: Any, script: Any, alice: Any
) -> None:
    effects = bench.start()
    bench.meet(alice)
    for _ in range(2):
        effects = bench.publish(bench.answer(effects))
        effects = bench.answer(bench.lose_patience(effects))
        bench.tell(alice.greet())
    assert not bench.core._others.is_awaited(alice.id)


def test_resting_nothing_is_fetched(script: Any, alice: Any) -> None:
    bench = script.Bench(rounds={"rounds": 1})
    bench.finish(bench.publish())
    heard = bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert verdict(heard) is Verdict.ACCEPT
    assert not script.every(heard, Pull)


def test_news_that_comes_while_we_merge_is_fresh_in_the_next_round(
    bench: Any, script: Any, alice: Any
) -> None:
    """It is behind us by its own count, as a late joiner's is, and still we have not had a round to use it in."""
    effects = bench.start()
    for _ in range(3):
        effects = bench.finish(bench.publish(bench.answer(effects)))
    merging = bench.publish(bench.answer(effects))
    bench.receive(alice, 0)
    ended = bench.finish(bench.publish(bench.answer(bench.finish(merging))))
    assert [(seen.name, seen.age) for seen in script.records(ended)[0].seen] == [("alice", 0)]


def test_of_two_peers_neither_fines_the_other_for_being_larger(bench: Any, script: Any) -> None:
    bench.publish()
    veteran = large(script, "veteran")
    for round_ in range(20):
        veteran.update = script.update_of([1e6 + round_, 0.0, 0.0, 0.0])
        assert refusals(script, bench.receive(veteran, round_)) == (
            [(veteran.id, "update.w")] if round_ == 0 else []
        )
    assert bench.core.welcome(veteran.id, bench.now)


def test_what_the_banned_sent_late_is_not_even_looked_at(
    open_bench: Any, script: Any, alice: Any, bob: Any
) -> None:
    alice.update = script.update_of([float("nan"), 0.0, 0.0, 0.0])
    pull = script.only(open_bench.tell(Heard(frame=alice.announce(3), via=alice.id)), Pull)
    open_bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))
    assert open_bench.tell(Pulled(request=pull.request, content=alice.update)) == []
