"""What the user is told of peers with other bases, and of peers of other versions."""

from __future__ import annotations

import pytest

from gossipllm.config import LearnerConfig
from peers.core.config import DefenceConfig
from peers.core.effects import Stop
from peers.core.events import Comparing, Connected, Greeted, Heard, Replied, Woke
from peers.core.others.connected.company import LONELY_ROUNDS
from sim.toy.learner import fingerprints
from support.core_bench import Bench, RemotePeer
from support.effects import every, notes, only, refusals
from wire.codec import encode_greeting, encode_reply
from wire.digest import fingerprint_of, short
from wire.messages import Greeting, Reply

OTHER = fingerprints("other")
PARTS = (b"gossipllm", OTHER.base, OTHER.tokenizer, OTHER.reference, OTHER.layout)


@pytest.fixture
def open_bench() -> Bench:
    bench = Bench()
    bench.start()
    return bench


@pytest.fixture
def alice() -> RemotePeer:
    return RemotePeer("alice")


def of_version(version: int) -> bytes:
    """A greeting of a peer of this network in another version of the protocol, by the real codec."""
    net = fingerprint_of(f"gossipllm/{version}", PARTS)
    return encode_greeting(Greeting(net=net, fingerprints=OTHER, latest=()))


def test_another_base_is_said_once_with_both_fingerprints(open_bench: Bench, alice: RemotePeer) -> None:
    said = [notes(open_bench.tell(alice.greet(base="other"), after=after)) for after in (0.0, 60.0, 9000.0)]

    prints = f"base: theirs {short(OTHER.base)}, ours {short(fingerprints().base)}"
    assert said == [
        [f"{alice.id} holds another base ({prints}): it and you compare predictions, and do not merge"],
        [],
        [],
    ]


def test_another_base_at_an_address_that_we_joined_is_no_reason_to_stop(alice: RemotePeer) -> None:
    bench = Bench(joined=frozenset([alice.id]))
    bench.start()

    effects = bench.tell(alice.greet(base="other"))

    assert not every(effects, Stop)
    assert not refusals(effects)


def test_who_distils_is_told_that_it_learns_from_the_predictions(alice: RemotePeer) -> None:
    bench = Bench(learner=LearnerConfig(also="distil"), defence=DefenceConfig())
    bench.start()

    (line,) = notes(bench.tell(alice.greet(base="other")))

    assert line.endswith("you learn from its predictions, and do not merge")


def test_a_thousand_strangers_of_other_bases_are_a_few_lines(open_bench: Bench) -> None:
    said: list[str] = []
    for number in range(1_000):
        stranger = RemotePeer(f"stranger{number}")
        open_bench.tell(Connected(peer=stranger.id, group="v4:203.0.113.7"))
        said += notes(open_bench.tell(stranger.greet(base=f"base{number}")))
    assert len(said) == 3


@pytest.mark.parametrize(("version", "older"), [(1, "theirs"), (2, "theirs")])
def test_a_peer_of_an_earlier_version_is_one_line_that_says_which_is_older(
    open_bench: Bench, alice: RemotePeer, version: int, older: str
) -> None:
    greeted = open_bench.tell(Greeted(greeting=of_version(version), via=alice.id))

    assert refusals(greeted) == [(alice.id, "version")]
    assert f"theirs speaks protocol {version}, ours 3; {older} is older" in str(greeted)
    reply = Reply(net=fingerprint_of(f"gossipllm/{version}", PARTS), fingerprints=OTHER, frames=())
    assert refusals(open_bench.tell(Replied(reply=encode_reply(reply), via=alice.id))) == []


def test_joining_a_peer_of_an_earlier_version_stops_us_with_what_to_do(alice: RemotePeer) -> None:
    bench = Bench(joined=frozenset([alice.id]))
    bench.start()

    stop = only(bench.tell(Greeted(greeting=of_version(2), via=alice.id)), Stop)

    assert stop.code == 2
    assert "differs in its version: theirs speaks protocol 2, ours 3; theirs is older." in stop.why
    assert "update gossipllm where it is older" in stop.why


def rounds_among(bench: Bench, *others: tuple[RemotePeer, str], rounds: int) -> list[str]:
    """The notes of comparisons after each of these rounds, in which the others announce with these bases."""
    said: list[str] = []
    effects = bench.start()
    for round_ in range(rounds):
        for other, base in others:
            bench.tell(Heard(frame=other.announce(round_, fingerprints=fingerprints(base)), via=other.id))
        published = bench.publish(bench.answer(effects))
        effects = bench.finish(published)
        said += notes(bench.tell(Woke(timer=Comparing())))
    return said


def test_where_nobody_holds_our_base_it_is_said_once(alice: RemotePeer) -> None:
    said = rounds_among(Bench(), (alice, "other"), rounds=LONELY_ROUNDS + 3)

    (line,) = said
    assert "nobody in this network holds your base and adapter layout: you can merge with nobody" in line
    assert "1 peer here" in line


def test_where_one_holds_our_base_nothing_is_said(alice: RemotePeer) -> None:
    bob = RemotePeer("bob")
    assert rounds_among(Bench(), (alice, "other"), (bob, "toy"), rounds=LONELY_ROUNDS + 2) == []


def test_alone_in_the_network_nothing_is_said() -> None:
    assert rounds_among(Bench(), rounds=LONELY_ROUNDS + 2) == []
