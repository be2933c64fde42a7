"""What is fetched from whom, how often, and never again; and what of it is taken for an update."""

from __future__ import annotations

from peers.core.config import NO_DEFENCE
from peers.core.effects import Drop, Pull, Verdict
from peers.core.events import Comparing, Connected, Heard, NotPulled, Pulled, Woke
from peers.core.others.blobs.pulls import MAX_OPEN
from peers.core.others.standing.budgets import FETCHES_OF_AUTHOR
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only, refusals, round_record, verdict
from support.running_core import neighbourhood

# -- what is asked for, and of whom -----------------------------------------------------------------


def test_evidence_too_large_to_ride_along_is_fetched_with_the_update(alice: RemotePeer) -> None:
    bench = Bench(defence=NO_DEFENCE)
    bench.start()
    effects = bench.tell(Heard(frame=alice.announce(0, inline=False), via=alice.id))
    assert {one.digest for one in every(effects, Pull)} == {alice.update.digest, alice.evidence.digest}


def test_a_failed_fetch_is_tried_again_by_other_ways(open_bench: Bench, alice: RemotePeer) -> None:
    others = [RemotePeer(name) for name in "abcdef"]
    open_bench.meet(alice, *others)
    pull = only(open_bench.tell(Heard(frame=alice.announce(0), via=alice.id)), Pull)
    asked = set(pull.sources)
    for _ in range(8):
        assert not every(open_bench.tell(NotPulled(request=pull.request, why="gone")), Pull)
        pull = only(open_bench.tell(Woke(timer=Comparing()), after=30.0), Pull)
        assert pull.sources[0] == alice.id
        asked |= set(pull.sources)

    assert asked == {alice.id, *(one.id for one in others)}


def test_one_announcement_of_an_author_is_fetched_at_a_time_and_then_its_newest(
    open_bench: Bench, alice: RemotePeer
) -> None:
    first = only(open_bench.tell(Heard(frame=alice.announce(0), via=alice.id)), Pull)
    old = alice.update
    for round_ in range(1, 40):
        alice.update = update_of([1.0, 0.5, 0.0, round_ / 100])
        assert not every(open_bench.tell(Heard(frame=alice.announce(round_), via=alice.id)), Pull)

    then = open_bench.tell(Pulled(request=first.request, content=old))

    assert open_bench.core.blob(old.digest, "someone") is not None, (
        "the older one counts until the newest is here"
    )
    assert only(then, Pull).digest == alice.update.digest


def test_a_fetch_that_failed_is_followed_by_the_newest(open_bench: Bench, alice: RemotePeer) -> None:
    first = only(open_bench.tell(Heard(frame=alice.announce(0), via=alice.id)), Pull)
    alice.update = update_of([2.0, 0.0, 0.0, 0.0])
    open_bench.tell(Heard(frame=alice.announce(1), via=alice.id))
    then = open_bench.tell(NotPulled(request=first.request, why="gone"))
    assert only(then, Pull).digest == alice.update.digest


def test_no_flood_of_authors_opens_more_than_so_many_fetches() -> None:
    bench = Bench(rounds={"most_partners": 256})
    bench.start()
    pulls: list[Pull] = []
    for name in range(3 * MAX_OPEN):
        someone = RemotePeer(str(name))
        pulls += every(bench.tell(Heard(frame=someone.announce(0), via=someone.id)), Pull)
    assert len(pulls) == MAX_OPEN


def test_an_author_that_announces_without_end_is_fetched_a_few_times_between_two_comparisons(
    open_bench: Bench, alice: RemotePeer
) -> None:
    def fetched(rounds: range) -> int:
        pulls = 0
        for round_ in rounds:
            alice.update = update_of([1.0, 0.0, 0.0, round_ / 100])
            pulls += len(every(open_bench.receive(alice, round_), Pull))
            open_bench.now += 0.2
        return pulls

    assert fetched(range(20)) == FETCHES_OF_AUTHOR
    again = open_bench.tell(Woke(timer=Comparing()))
    assert only(again, Pull).digest == alice.update.digest, "the newest is fetched then"


def test_what_is_held_of_strangers_is_bounded() -> None:
    bench = Bench(rounds={"most_partners": 4, "explore": 4})
    bench.start()
    for number in range(200):
        bench.receive(RemotePeer(str(number), update=update_of([1.0, 0.0, 0.0, number / 1000])))
    held = list(neighbourhood(bench.core).inbox.complete())
    assert len(held) <= 8


def test_dead_authors_do_not_take_the_places_of_the_living() -> None:
    bench = Bench(rounds={"most_partners": 2, "explore": 2})
    effects = bench.start()
    for number in range(100):
        bench.tell(Heard(frame=RemotePeer(f"dead{number}").announce(0), via="x"))
    for _ in range(6):
        effects = bench.finish(bench.publish(bench.answer(effects)))
    alive = [RemotePeer(name, update=update_of([1.0, 0.5, 0.0, len(name)])) for name in ("alive", "kicking")]
    for one in alive:
        bench.receive(one, 50)
    ended = bench.finish(bench.publish(bench.answer(effects)))
    seen = {one.name for one in round_record(ended).seen}
    assert seen == {"alive", "kicking"}


def test_a_blob_that_comes_after_its_author_was_banned_is_dropped(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    pull = only(open_bench.tell(Heard(frame=alice.announce(3), via=alice.id)), Pull)
    open_bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))
    assert open_bench.tell(Pulled(request=pull.request, content=alice.update)) == []
    assert open_bench.core.blob(alice.update.digest, "someone") is None


def test_an_answer_nobody_asked_for_is_nothing(open_bench: Bench, alice: RemotePeer) -> None:
    assert open_bench.tell(Pulled(request=99, content=alice.update)) == []
    assert open_bench.tell(NotPulled(request=99, why="")) == []


def test_updates_and_predictions_of_different_announcements_never_meet(
    alice: RemotePeer,
) -> None:
    open_bench = Bench(defence=NO_DEFENCE)
    open_bench.start()
    old = every(open_bench.tell(Heard(frame=alice.announce(0, inline=False), via=alice.id)), Pull)
    old_update, alice.update = alice.update, update_of([2.0, 0.0, 0.0, 0.0])
    open_bench.tell(Heard(frame=alice.announce(1, inline=False), via=alice.id))
    for pull in old:
        content = old_update if pull.digest == old_update.digest else alice.evidence
        open_bench.tell(Pulled(request=pull.request, content=content))

    (complete,) = neighbourhood(open_bench.core).inbox.complete()
    assert complete.announcement.round == 0
    assert complete.update is not None
    assert complete.update.digest == complete.announcement.update.digest


def test_resting_nothing_is_fetched(alice: RemotePeer) -> None:
    bench = Bench(rounds={"rounds": 1})
    bench.finish(bench.publish())
    heard = bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    assert verdict(heard) is Verdict.ACCEPT
    assert not every(heard, Pull)


def test_what_the_banned_sent_late_is_not_even_looked_at(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    alice.update = update_of([float("nan"), 0.0, 0.0, 0.0])
    pull = only(open_bench.tell(Heard(frame=alice.announce(3), via=alice.id)), Pull)
    open_bench.tell(Heard(frame=alice.announce(3, tokens=2), via=bob.id))
    assert open_bench.tell(Pulled(request=pull.request, content=alice.update)) == []


# -- what holds no numbers, or large ones -----------------------------------------------------------


def test_an_update_that_holds_no_numbers_bans_its_author(
    open_bench: Bench, alice: RemotePeer, bob: RemotePeer
) -> None:
    alice.update = update_of([float("nan"), 0.0, 0.0, 0.0])
    open_bench.tell(Connected(peer=alice.id))
    effects = open_bench.receive(alice)
    assert refusals(effects) == [(alice.id, "update.w")]
    assert only(effects, Drop).peer == alice.id
    assert open_bench.core.blob(alice.update.digest, "someone") is None


def large(name: str) -> RemotePeer:
    return RemotePeer(name, update=update_of([1e6 + ord(name[0]), 0.0, 0.0, 0.0]))


def test_a_large_update_is_fetched_once_and_not_merged(bench: Bench) -> None:
    effects = bench.publish()
    mallory = large("mallory")
    effects = bench.finish(effects)

    received = bench.receive(mallory)

    assert refusals(received) == [(mallory.id, "update.w")]
    for _ in range(5):
        assert not every(bench.tell(Woke(timer=Comparing()), after=30.0), Pull)
    assert bench.core.welcome(mallory.id, bench.now)
    ended = bench.finish(bench.publish(bench.answer(effects)))
    assert round_record(ended).seen == ()


def test_a_newcomer_takes_the_updates_of_those_who_are_a_thousand_times_larger(bench: Bench) -> None:
    """Its own update is small because it has hardly begun; what theirs do to it is for the learner to bound."""
    bench.publish()
    veterans = [RemotePeer(name, update=update_of([2e3 + ord(name), 0.0, 0.0, 0.0])) for name in "abcd"]
    for round_ in range(20):
        for veteran in veterans:
            assert refusals(bench.receive(veteran, round_)) == []

    assert all(bench.core.welcome(one.id, bench.now) for one in veterans)
    assert {one.author for one in neighbourhood(bench.core).inbox.complete()} == {one.id for one in veterans}


def test_large_updates_make_no_room_for_each_other(bench: Bench) -> None:
    bench.publish()
    for name in "abcdefgh":
        mallory = large(name)
        assert refusals(bench.receive(mallory)) == [(mallory.id, "update.w")]
    assert not list(neighbourhood(bench.core).inbox.complete())


def test_one_large_among_many_is_fined(open_bench: Bench) -> None:
    for number in range(3):
        open_bench.receive(RemotePeer(str(number), update=update_of([1.0, 0.0, 0.0, float(number)])))
    mallory = large("mallory")
    for round_ in range(4):
        open_bench.receive(mallory, round_)
    assert not open_bench.core.welcome(mallory.id, open_bench.now)
