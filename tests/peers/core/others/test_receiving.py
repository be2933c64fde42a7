"""Floods of announcements: what of them is taken, who pays, and what honest neighbours still get through."""

from __future__ import annotations

import pytest

from peers.core.effects import Drop, Verdict
from peers.core.events import Connected, Heard, Misbehaved, Replied
from peers.core.others.inbox import MAX_AUTHORS as MAX_IN_INBOX
from peers.core.others.standing.budgets import (
    ANNOUNCEMENTS_OF_SOURCE,
    BAD_CONTENT_OF_SOURCE,
    NEW_AUTHORS,
    NEW_AUTHORS_FINED,
    NEW_AUTHORS_OF_SOURCE,
    Budget,
)
from sim.toy.learner import EVIDENCE, fingerprints
from sim.world.keys import ToyKeys
from support.core_bench import NET, Bench, RemotePeer
from support.effects import every, refusals, verdict
from support.running_core import neighbourhood
from wire.codec import encode_reply
from wire.digest import Content
from wire.messages import Reply

MALLORY, CROWD = "mallory", "v4:203.0.113.7"


@pytest.fixture
def flooded() -> Bench:
    """A bench whose learner is open, connected with mallory, bob and carol, each from an address of its own."""
    bench = Bench()
    bench.start()
    for number, name in enumerate((MALLORY, "bob", "carol")):
        group = CROWD if name == MALLORY else f"v4:198.51.100.{number}"
        bench.tell(Connected(peer=RemotePeer(name).id, group=group))
    return bench


def tells(bench: Bench, via: str, author: RemotePeer, round_: int = 0) -> Verdict:
    return verdict(bench.tell(Heard(frame=author.announce(round_), via=RemotePeer(via).id)))


def flood(bench: Bench, count: int, *, via: str = MALLORY, first: int = 0) -> int:
    """How many of so many new authors are taken."""
    return sum(
        tells(bench, via, RemotePeer(f"{via}'s {number}")) is Verdict.ACCEPT
        for number in range(first, first + count)
    )


def test_one_source_tells_of_so_many_new_authors_and_an_honest_neighbour_of_its_own(flooded: Bench) -> None:
    assert flood(flooded, 300) == NEW_AUTHORS_OF_SOURCE.burst
    assert tells(flooded, "bob", RemotePeer("dave")) is Verdict.ACCEPT
    assert tells(flooded, "bob", RemotePeer("bob")) is Verdict.ACCEPT
    assert flooded.core.welcome(RemotePeer(MALLORY).id, flooded.now), "an honest peer may pass on as many"
    flooded.now += 60
    assert flood(flooded, 20, first=300) == 10


def test_a_new_author_that_came_in_a_flood_is_taken_when_it_comes_by_another_way(flooded: Bench) -> None:
    flood(flooded, 300)
    drowned = RemotePeer("drowned")
    assert tells(flooded, MALLORY, drowned) is Verdict.IGNORE
    assert tells(flooded, "bob", drowned) is Verdict.ACCEPT


def test_a_neighbour_that_passes_on_a_flood_is_heard_itself(flooded: Bench) -> None:
    flood(flooded, 300, via="bob")
    assert tells(flooded, "bob", RemotePeer("bob")) is Verdict.ACCEPT


def test_known_authors_are_heard_however_many_new_ones_there_are(flooded: Bench) -> None:
    tells(flooded, MALLORY, RemotePeer("dave"))
    flood(flooded, 300)
    assert tells(flooded, MALLORY, RemotePeer("dave"), 1) is Verdict.ACCEPT


def test_all_sources_together_tell_of_as_many_as_the_inbox_holds_and_connected_peers_are_heard(
    flooded: Bench,
) -> None:
    taken = 0
    for number in range(15):
        flooded.tell(Connected(peer=RemotePeer(f"relay{number}").id, group=f"v4:192.0.2.{number}"))
        taken += flood(flooded, 100, via=f"relay{number}")
    assert taken == NEW_AUTHORS.burst == MAX_IN_INBOX
    assert tells(flooded, "carol", RemotePeer("carol")) is Verdict.ACCEPT


def test_who_tells_of_more_authors_than_a_network_can_have_is_closed(flooded: Bench) -> None:
    flood(flooded, int(NEW_AUTHORS_FINED.burst))
    assert flooded.core.welcome(RemotePeer(MALLORY).id, flooded.now)
    flood(flooded, 25, first=int(NEW_AUTHORS_FINED.burst))
    assert not flooded.core.welcome(RemotePeer(MALLORY).id, flooded.now)
    assert flooded.core.welcome(RemotePeer("bob").id, flooded.now)


def test_the_rate_of_announcements_is_limited_by_source_and_not_for_seated_authors(
    flooded: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = neighbourhood(flooded.core)
    monkeypatch.setattr(others._receiving._announcements, "_budget", Budget(burst=5, per_second=0.1))
    friend = RemotePeer("friend")
    tells(flooded, MALLORY, friend)
    for _ in range(2):
        others.seats.gained(friend.id)
    taken = [tells(flooded, MALLORY, RemotePeer("dave"), round_) for round_ in range(8)]
    assert taken == [Verdict.ACCEPT] * 4 + [Verdict.IGNORE] * 4
    assert tells(flooded, MALLORY, friend, 1) is Verdict.ACCEPT
    assert tells(flooded, "bob", RemotePeer("dave"), 7) is Verdict.ACCEPT, "it was not marked as seen"
    assert ANNOUNCEMENTS_OF_SOURCE.burst >= 2 * NEW_AUTHORS.burst, "a healed partition is not a flood"


def test_a_flood_costs_no_signatures_beyond_its_budget(
    flooded: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes] = []
    verify = ToyKeys.verify

    def counting(self: ToyKeys, public_key: bytes, message: bytes, signature: bytes) -> bool:
        verified.append(public_key)
        return verify(self, public_key, message, signature)

    monkeypatch.setattr(ToyKeys, "verify", counting)
    flood(flooded, 1_000)
    assert len(verified) == NEW_AUTHORS_OF_SOURCE.burst


def test_replies_share_the_budget_of_their_source_and_cost_no_fine(flooded: Bench) -> None:
    mallory = RemotePeer(MALLORY)
    for start in range(0, 2_400, 40):
        frames = tuple(RemotePeer(f"known{start + n}").announce(inline=False) for n in range(40))
        reply = Reply(net=NET, fingerprints=fingerprints(), frames=frames)
        flooded.tell(Replied(reply=encode_reply(reply), via=mallory.id))
    assert len(list(neighbourhood(flooded.core).inbox.newest())) == NEW_AUTHORS_OF_SOURCE.burst
    assert flooded.core.welcome(mallory.id, flooded.now)


def test_four_hundred_new_keys_with_bad_predictions_write_a_few_lines_and_close_their_connection(
    flooded: Bench,
) -> None:
    bad = Content.of(b"\xff" * EVIDENCE.size)
    lines = 0
    dropped: list[Drop] = []
    for number in range(400):
        author = RemotePeer(f"fresh{number}", evidence=bad)
        effects = flooded.tell(Heard(frame=author.announce(), via=RemotePeer(MALLORY).id), after=1 / 400)
        lines += len(refusals(effects))
        dropped += every(effects, Drop)
    assert lines <= 6
    assert dropped[0].peer == RemotePeer(MALLORY).id
    assert tells(flooded, "bob", RemotePeer("bob")) is Verdict.ACCEPT


def test_a_few_bad_predictions_cost_only_their_authors(flooded: Bench) -> None:
    bad = Content.of(b"\xff" * EVIDENCE.size)
    for number in range(int(BAD_CONTENT_OF_SOURCE.burst)):
        tells(flooded, "bob", RemotePeer(f"fresh{number}", evidence=bad))
    assert flooded.core.welcome(RemotePeer("bob").id, flooded.now)


# -- address groups that misbehave --------------------------------------------------------------------


def misbehave(bench: Bench, name: str, group: str) -> bool:
    """Whether a connection of this new identity stands before it is banned for bad bytes."""
    one = RemotePeer(name)
    stands = not every(bench.tell(Connected(peer=one.id, group=group)), Drop)
    if stands:
        bench.tell(Misbehaved(peer=one.id, field="frame", why="too long", fine=-100.0))
    return stands


def test_one_bad_peer_leaves_the_others_of_its_address_their_connections(flooded: Bench) -> None:
    assert misbehave(flooded, "bad", "v4:192.0.2.1")
    neighbour = RemotePeer("neighbour")
    assert not every(flooded.tell(Connected(peer=neighbour.id, group="v4:192.0.2.1")), Drop)


def test_new_identities_are_no_way_around_a_ban(flooded: Bench) -> None:
    stood = [misbehave(flooded, f"bad{number}", "v4:192.0.2.1") for number in range(20)]
    assert stood == [True, True] + [False] * 18
    flooded.now += 3_600
    assert misbehave(flooded, "later", "v4:192.0.2.1"), "a group is closed for a while, not for good"


def test_a_seated_neighbour_connects_from_an_address_that_is_closed(flooded: Bench) -> None:
    friend = RemotePeer("friend")
    for _ in range(2):
        neighbourhood(flooded.core).seats.gained(friend.id)
    for number in range(3):
        misbehave(flooded, f"bad{number}", "v4:192.0.2.1")
    assert not every(flooded.tell(Connected(peer=friend.id, group="v4:192.0.2.1")), Drop)


def test_bad_content_costs_its_author_and_not_its_address(flooded: Bench) -> None:
    bad = Content.of(b"\xff" * EVIDENCE.size)
    for number in range(5):
        one = RemotePeer(f"author{number}", evidence=bad)
        flooded.tell(Connected(peer=one.id, group="v4:192.0.2.1"))
        flooded.tell(Heard(frame=one.announce(), via=one.id))
    other = RemotePeer("other")
    assert not every(flooded.tell(Connected(peer=other.id, group="v4:192.0.2.1")), Drop)
