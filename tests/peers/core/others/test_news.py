"""What another author announced before is no news: it costs no fetch and takes no part."""

from __future__ import annotations

from gossipllm.work import Weigh
from peers.core.config import DefenceConfig
from peers.core.effects import Publish, Pull, Verdict
from peers.core.events import Heard
from peers.core.others.news import LEAST_TELLING, MAX_DIGESTS, MOST_TWINS, REMEMBERED, News
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, only, refusals, requests, round_record, verdict
from support.running_core import neighbourhood
from wire.codec import decode_announcement
from wire.digest import digest_of
from wire.messages import Announcement, BlobRef


def announcement(
    what: str, round_: int = 0, *, evidence: str = "", size: int = LEAST_TELLING
) -> Announcement:
    frame = RemotePeer("author").announce(
        round_,
        inline=False,
        update=BlobRef(digest=digest_of(what.encode()), size=20),
        evidence=BlobRef(digest=digest_of(evidence.encode() or f"of {what}".encode()), size=size),
    )
    return decode_announcement(frame).announcement


def test_an_update_that_another_author_announced_in_an_earlier_round_is_no_news() -> None:
    news = News()
    assert news.replayed("a", announcement("one", 4), 0) is None
    told = news.replayed("b", announcement("one", 5), 1)
    assert told == ("update.digest", "announced before by a in its round 4")
    assert news.replayed("a", announcement("one", 4), 1) is None, "the same announcement again"


def test_an_author_may_come_back_to_an_update_of_its_own() -> None:
    news = News()
    news.replayed("a", announcement("one", 4), 0)
    news.replayed("a", announcement("two", 5), 1)
    assert news.replayed("a", announcement("one", 6), 2) is None
    assert news.replayed("b", announcement("one", 6), 2) is not None, "its first author stays the same"


def test_predictions_of_another_announcement_are_no_news_where_they_are_long_enough_to_tell() -> None:
    news = News()
    news.replayed("a", announcement("one", evidence="seen"), 0)
    told = news.replayed("b", announcement("two", evidence="seen"), 1)
    assert told is not None
    assert told[0] == "evidence.digest"
    assert news.replayed("b", announcement("three", evidence="seen", size=LEAST_TELLING - 1), 1) is None


def test_within_one_round_a_faster_copy_takes_nothing_from_the_author() -> None:
    news = News()
    assert news.replayed("copy", announcement("one"), 3) is None
    assert news.replayed("original", announcement("one"), 3) is None
    assert news.replayed("third", announcement("one", 1), 4) is not None
    assert news.replayed("original", announcement("one", 1), 4) is None, "it may come back to it"
    crowd = [f"copy {number}" for number in range(MOST_TWINS + 2)]
    assert not any(news.replayed(one, announcement("two"), 5) for one in crowd)
    assert [one for one in crowd if news.replayed(one, announcement("two"), 6)] == crowd[-1:]


def test_what_is_remembered_is_bounded_for_each_author_and_in_all() -> None:
    news = News()
    for number in range(REMEMBERED + 1):
        assert news.replayed("a", announcement(f"a{number}", number), number) is None
    assert news.replayed("b", announcement("a1"), 20) is not None
    assert news.replayed("c", announcement("a0"), 20) is None, "too long ago"
    assert len(news._first) <= 2 * REMEMBERED + 4
    assert news._first._most == MAX_DIGESTS


def test_a_replayed_update_is_passed_on_but_neither_fetched_nor_weighed(
    alice: RemotePeer, bob: RemotePeer
) -> None:
    bench = Bench(defence=DefenceConfig())
    effects = bench.start()
    bench.meet(alice, bob)
    bench.receive(alice)
    bob.update = update_of([0.0, 0.5, 0.25, 0.0])
    bench.receive(bob)
    effects = bench.finish(bench.publish(bench.answer(effects)))
    bob.update = alice.update
    told = bench.tell(Heard(frame=bob.announce(7), via=bob.id))
    assert verdict(told) is Verdict.ACCEPT
    assert not every(told, Pull)
    assert refusals(told) == [(bob.id, "update.digest")]
    alice.update = update_of([1.0, 0.5, 0.25, 0.0])
    told = bench.receive(alice, 1)
    asked = [
        one for one in requests([*told, *bench.publish(bench.answer(effects))]) if isinstance(one, Weigh)
    ]
    assert [one.author for one in asked] == [alice.id]


def test_this_peers_own_update_is_no_news(bob: RemotePeer) -> None:
    bench = Bench(defence=DefenceConfig())
    published = bench.publish()
    own = decode_announcement(only(published, Publish).frame).announcement
    ended = bench.finish(published)
    assert round_record(ended).round == 0
    told = bench.tell(Heard(frame=bob.announce(3, update=own.update), via=bob.id))
    assert refusals(told) == [(bob.id, "update.digest")]
    entry = neighbourhood(bench.core).inbox.newest_of(bob.id)
    assert entry is not None
    assert not entry.mergeable
