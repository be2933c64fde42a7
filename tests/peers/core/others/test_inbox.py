"""The newest complete state of each author, and its age."""

from __future__ import annotations

import pytest

from peers.core.others.inbox import MAX_AUTHORS, Inbox, Kind, ReceivedAnnouncement
from sim.toy.learner import EVIDENCE
from support.core_bench import RemotePeer, update_of
from wire.codec import decode_announcement
from wire.digest import Content
from wire.messages import BlobRef


def entry(name: str, round_: int, *, whole: bool = True) -> ReceivedAnnouncement:
    someone = RemotePeer(name)
    frame = someone.announce(round_)
    announcement = decode_announcement(frame).announcement
    refs: dict[Kind, BlobRef] = {"evidence": announcement.evidence, "update": announcement.update}
    made = ReceivedAnnouncement(someone.id, announcement, frame, someone.id, refs)
    if whole:
        made.evidence, made.update = someone.evidence, None
    return made


def give(inbox: Inbox, one: ReceivedAnnouncement, content: Content | None = None) -> None:
    inbox.hold(one, "evidence", EVIDENCE)
    inbox.hold(one, "update", content or update_of([1.0, 0.5, 0.0, 0.0]))


def test_the_older_complete_one_counts_until_the_newer_is() -> None:
    inbox, old, new = Inbox(), entry("a", 0), entry("a", 1)
    inbox.put(old)
    give(
        inbox,
        old,
    )
    inbox.put(new)

    assert list(inbox.newest()) == [new]
    assert list(inbox.complete()) == [old]
    give(
        inbox,
        new,
    )
    assert list(inbox.complete()) == [new]


def test_an_older_announcement_never_replaces_a_newer_one() -> None:
    inbox, new = Inbox(), entry("a", 5)
    assert inbox.put(new)
    assert not inbox.put(entry("a", 4))
    assert not inbox.put(entry("a", 5))
    assert list(inbox.newest()) == [new]


def test_one_that_was_replaced_while_it_was_fetched_still_counts() -> None:
    inbox, on_its_way, newer = Inbox(), entry("a", 0), entry("a", 1)
    inbox.put(on_its_way)
    inbox.put(newer)
    give(
        inbox,
        on_its_way,
    )
    assert list(inbox.complete()) == [on_its_way]


def test_late_blobs_of_an_older_one_do_not_replace_a_newer_state() -> None:
    inbox, old, new = Inbox(), entry("a", 0), entry("a", 1)
    inbox.put(old)
    inbox.put(new)
    give(
        inbox,
        new,
    )
    give(
        inbox,
        old,
    )
    assert list(inbox.complete()) == [new]


def test_what_was_removed_does_not_come_back_with_its_blob() -> None:
    inbox, one = Inbox(), entry("a", 0)
    inbox.put(one)
    inbox.remove(one.author)
    give(
        inbox,
        one,
    )
    assert not list(inbox.complete())


def test_age_counts_our_rounds_and_news_of_a_closed_round_is_for_the_next() -> None:
    inbox, early, late = Inbox(), entry("early", 0), entry("late", 0)
    inbox.put(early)
    inbox.close()
    inbox.put(late)
    assert (inbox.age(early), inbox.age(late)) == (0, 0)
    inbox.turn(forget_after=4)
    assert (inbox.age(early), inbox.age(late)) == (1, 0)
    inbox.turn(forget_after=4)
    assert (inbox.age(early), inbox.age(late)) == (2, 1)


def test_a_peer_ahead_of_us_is_never_stale() -> None:
    inbox, ahead, behind = Inbox(), entry("ahead", 9), entry("behind", 0)
    for one in (ahead, behind):
        inbox.put(one)
    inbox.turn(forget_after=4)
    inbox.turn(forget_after=4)
    assert inbox.staleness(ahead, 5) == 0
    assert inbox.staleness(behind, 5) == 2
    assert inbox.staleness(behind, 1) == 1


def test_old_blobs_are_let_go_and_the_announcement_is_remembered() -> None:
    inbox, one = Inbox(), entry("a", 0)
    inbox.put(one)
    give(
        inbox,
        one,
    )
    for _ in range(3):
        inbox.turn(forget_after=2)

    assert not list(inbox.complete())
    assert inbox.blob(one.announcement.update.digest) is None
    assert inbox.newest_of(one.author) is not None
    assert one.complete, "a round that still goes on may count on it"


def test_a_flood_of_authors_pushes_out_none_that_are_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_AUTHORS == 1_000
    monkeypatch.setattr("peers.core.others.inbox.MAX_AUTHORS", 10)
    inbox, friend = Inbox(), entry("friend", 0)
    inbox.put(friend)
    inbox.turn(forget_after=4)
    for stranger in range(50):
        inbox.put(entry(f"stranger{stranger}", 0), keepers={friend.author})

    assert inbox.newest_of(friend.author) is friend
    assert len(list(inbox.newest())) == 10


def test_a_flood_from_one_group_pushes_out_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peers.core.others.inbox.MAX_AUTHORS", 10)
    inbox, old = Inbox(), entry("old", 0)
    old.group = "v4:198.51.100.1"
    inbox.put(old)
    inbox.turn(forget_after=4)
    for number in range(50):
        one = entry(f"crowd{number}", 0)
        one.group = "v4:203.0.113.7"
        inbox.put(one)

    assert inbox.newest_of(old.author) is old, "though it was silent longest"
    assert len(list(inbox.newest())) == 10


def test_a_blob_is_found_as_what_it_was_checked_as() -> None:
    inbox, one = Inbox(), entry("a", 0)
    inbox.put(one)
    give(
        inbox,
        one,
    )
    digest = one.announcement.update.digest
    assert inbox.find("update", digest) is not None
    assert inbox.find("evidence", digest) is None
    assert inbox.blob(digest) is not None
