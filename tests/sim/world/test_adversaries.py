"""Adversaries with one named fault each: honest peers go on learning, and no honest peer is banned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from peers.core.config import CoreConfig, RoundConfig
from peers.core.effects import Drop, Pull
from peers.core.events import Connected, Greeted, Heard, Pulled, Replied
from peers.identity import Identity
from peers.run.command import DeviceKeys
from sim.toy.adding import add_toy
from sim.toy.learner import EVIDENCE, fingerprints
from sim.world.conditions import ComputeConfig, Conditions
from sim.world.world import World
from support.running_core import neighbourhood
from support.worlds import check, published
from trust.record.history import Refusal
from wire.codec import decode_announcement, encode_announcement, encode_reply
from wire.digest import NO_DIGEST, Content
from wire.messages import Announcement, BlobRef, ContextRef, Reply, ShareRef, network_id
from wire.updates.units import Offer

NET = network_id("gossipllm", fingerprints().reference)


def identity(number: int) -> DeviceKeys:
    return DeviceKeys(Identity(bytes([number]) * 32))


MALLORY, RELAY = identity(200), "a relay"


def frame(
    round_: int, *, of: DeviceKeys = MALLORY, signed_by: DeviceKeys | None = None, **fields: Any
) -> bytes:
    values: dict[str, Any] = {
        "net": NET,
        "fingerprints": fingerprints(),
        "author": of.public_key,
        "name": "mallory",
        "round": round_,
        "previous": NO_DIGEST,
        "update": ref(update([0.0, 0.0, 0.0, 0.0])),
        "offer": Offer(0),
        "evidence": ref(EVIDENCE),
        "tokens": 1,
        "samples": 1,
        "steps": 1,
        "tokens_total": 1,
        "samples_total": 1,
        "capacity": 100,
        "importance": b"",
        "shares": (),
        "contexts": (),
        "capabilities": (),
        "sent_at_s": 0,
    }
    announcement = Announcement(**{**values, **fields})
    return encode_announcement(announcement, (signed_by or of).sign, payload=EVIDENCE.data)


def update(values: list[float]) -> Content:
    return Content.of(bytes(4) + np.array(values, "<f4").tobytes())


def ref(content: Content) -> BlobRef:
    return BlobRef(digest=content.digest, size=content.size)


@pytest.fixture
def town() -> World:
    """Four honest peers with real keys after a few rounds, and an adversary connected to all of them."""
    conditions = Conditions(compute=ComputeConfig(step_s=0.5, answer_s=0.0))
    world = World(seed=4, conditions=conditions, logged=True)
    for number in range(4):
        config = CoreConfig(
            name=f"p{number}", round=RoundConfig(steps=2, patience_s=2.0, compare_every_s=5.0)
        )
        lean = [0.0, 0.0, 0.0, 0.0]
        lean[number] = 0.5
        add_toy(world, config, [1.0, 1.0, 1.0, 1.0], lean=lean, keys=identity(number))
    world.begin()
    world.run(seconds=5)
    world.outsiders[MALLORY.peer_id] = {}
    for node in world.nodes:
        world.tell(node, Connected(peer=MALLORY.peer_id))
    return world


def throw(world: World, attack: Callable[[int], None], *, seconds: int = 15) -> None:
    """Call `attack` once a second for `seconds`, then let the world run without it."""
    for second in range(seconds):
        attack(second)
        world.run(seconds=1)
    world.run(seconds=10)


def unharmed(world: World, *, rounds: int = 18) -> None:
    check(world, outsiders=(MALLORY.peer_id,))
    for node in world.nodes:
        assert len(node.rounds) >= rounds
        assert {seen.name for seen in node.rounds[-1].seen} >= {
            other.config.name for other in world.nodes if other is not node
        }
        assert node.core.welcome(RELAY, world.now), "nobody pays for what it could not know"


def refused(world: World) -> set[tuple[str, str]]:
    records = (record for node in world.nodes for record in node.records)
    return {(one.about, one.field) for one in records if isinstance(one, Refusal)}


def is_out(world: World) -> bool:
    return not any(node.core.welcome(MALLORY.peer_id, world.now) for node in world.nodes)


def test_garbage(town: World) -> None:
    def attack(second: int) -> None:
        for node in town.nodes:
            for data in (b"", b"GLA3" + bytes(100 + second), frame(second)[:-1], frame(second) + b"x"):
                town.tell(node, Heard(frame=data, via=MALLORY.peer_id))
            town.tell(node, Greeted(greeting=bytes(second), via=MALLORY.peer_id))
            town.tell(node, Replied(reply=b"\x81" * second, via=MALLORY.peer_id))

    throw(town, attack)
    assert is_out(town)
    assert any(isinstance(effect, Drop) for one in town.log for effect in one.effects)
    unharmed(town)


def test_forged_signatures(town: World) -> None:
    """Announcements of future rounds in the names of honest peers: theirs would then count as old or as forks."""

    def attack(second: int) -> None:
        for node in town.nodes:
            for victim in town.nodes:
                round_ = victim.core.round + second % 3
                forged = frame(round_, of=victim.keys, signed_by=MALLORY)  # type: ignore[arg-type]
                town.tell(node, Heard(frame=forged, via=MALLORY.peer_id))

    throw(town, attack)
    assert is_out(town)
    assert (MALLORY.peer_id, "announcement.signature") in refused(town)
    unharmed(town)


def test_equivocation_to_different_halves(town: World) -> None:
    """Each half hears another update of one round; all peers find out because both halves relay what they heard."""
    one, other = update([1.0, 1.0, 1.0, 1.0]), update([1.0, 1.0, 1.0, 0.9])
    town.outsiders[MALLORY.peer_id] = {one.digest: one.data, other.digest: other.data}
    for number, node in enumerate(town.nodes):
        story = frame(7, update=ref(one if number < 2 else other))
        town.tell(node, Heard(frame=story, via=RELAY))
    town.run(seconds=2)

    assert is_out(town)
    assert (MALLORY.peer_id, "announcement.round") in refused(town)
    town.run(seconds=20)
    unharmed(town)


@pytest.mark.parametrize("values", [[float("nan"), 0, 0, 0], [float("inf"), 0, 0, 0]])
def test_updates_with_numbers_that_are_not_finite(town: World, values: list[float]) -> None:
    bad = update(values)
    town.outsiders[MALLORY.peer_id] = {bad.digest: bad.data}

    def attack(second: int) -> None:
        for node in town.nodes:
            town.tell(node, Heard(frame=frame(second, update=ref(bad)), via=RELAY))

    throw(town, attack)
    assert is_out(town)
    assert (MALLORY.peer_id, "update.w") in refused(town)
    unharmed(town)


@pytest.mark.parametrize("size", [1e5, 3e38])
def test_updates_much_larger_than_those_of_honest_peers(town: World, size: float) -> None:
    """A new one each round: each is fetched at most once, none is merged, and after a few the author is banned."""
    bad: set[bytes] = set()

    def attack(second: int) -> None:
        large = update([size * (0.9 + second / 1000), 0.0, 0.0, 0.0])
        town.outsiders[MALLORY.peer_id] = {large.digest: large.data}
        bad.add(large.digest)
        for node in town.nodes:
            town.tell(node, Heard(frame=frame(second, update=ref(large)), via=RELAY))

    throw(town, attack)
    assert (MALLORY.peer_id, "update.w") in refused(town)
    came = [(one.peer, one.event.content.digest) for one in town.log if isinstance(one.event, Pulled)]
    assert all(came.count((peer, digest)) <= 1 for peer in range(4) for digest in bad)
    assert any(isinstance(effect, Drop) for one in town.log for effect in one.effects)
    unharmed(town)


def test_updates_that_are_larger_and_not_impossible_are_fetched_and_never_merged(town: World) -> None:
    def attack(second: int) -> None:
        large = update([1e3 + second, 0.0, 0.0, 0.0])
        town.outsiders[MALLORY.peer_id] = {large.digest: large.data}
        for node in town.nodes:
            town.tell(node, Heard(frame=frame(second, update=ref(large)), via=RELAY))

    throw(town, attack)
    seen = [s for n in town.nodes for r in n.rounds for s in r.seen if s.peer == MALLORY.peer_id]
    assert seen
    assert not any(one.weight for one in seen)
    assert {one.left for one in seen} <= {"loud", "harmful", "useless", "own", "twin", "paused"}
    unharmed(town)


def test_updates_that_are_wrong_but_not_obviously(town: World) -> None:
    """The opposite of the honest target at a plausible size: the guard sees that it does harm."""

    def attack(second: int) -> None:
        bad = update([-1.0, -1.0, -1.0, -1.0 - second / 100])
        town.outsiders[MALLORY.peer_id] = {bad.digest: bad.data}
        for node in town.nodes:
            town.tell(node, Heard(frame=frame(second, update=ref(bad)), via=RELAY))

    throw(town, attack)
    weights = [s.weight for n in town.nodes for r in n.rounds for s in r.seen if s.peer == MALLORY.peer_id]
    assert weights
    assert sum(weights) / len(weights) < 0.05
    check(town)


def test_announcements_without_end(town: World) -> None:
    """A hundred a second, each for another round, none with a blob."""
    rounds = iter(range(100_000))

    def attack(_: int) -> None:
        for _ in range(100):
            data = frame(next(rounds), update=BlobRef(digest=bytes(32), size=20))
            for node in town.nodes:
                town.tell(node, Heard(frame=data, via=RELAY))

    throw(town, attack, seconds=5)
    for one in town.nodes:
        open_pulls = neighbourhood(one.core).fetching.pulls._open
        assert len(open_pulls) <= 8
    unharmed(town, rounds=14)


def test_old_frames_again(town: World) -> None:
    """All frames of a history again, in reverse order from the first: none of them counts."""
    history = [data for node in town.nodes for data in published(town, node)]
    latest = {node.keys.peer_id: node.core.round for node in town.nodes}
    for node in town.nodes:
        node.seen.clear()
        for data in reversed(history):
            town.tell(node, Heard(frame=data, via=RELAY))
        frames = tuple(history[:40])
        reply = Reply(net=NET, fingerprints=fingerprints(), frames=frames)
        town.tell(node, Replied(reply=encode_reply(reply), via=RELAY))
    town.run(seconds=0.01)
    for node in town.nodes:
        for entry in neighbourhood(node.core).inbox.newest():
            assert entry.announcement.round >= latest[entry.author] - 1
    town.run(seconds=20)
    unharmed(town)
    assert all(decode_announcement(data) for data in history)


@pytest.mark.parametrize(
    "lie",
    [
        {"update": BlobRef(digest=bytes(32), size=2**31 - 1)},
        {"update": BlobRef(digest=bytes(32), size=1)},
        {"offer": Offer(8)},
        {"offer": Offer(0, b"\x01")},
        {"offer": Offer(0, bytes(1024))},
        {"importance": b"\0\0\xc0\x7f" * 4},
        {"importance": b"\0\0\x80\x7f" * 4},
        {"importance": b"\0\0\x80\xc0" * 4},
        {"importance": bytes(1024)},
        {"shares": tuple(ShareRef(to=bytes([n] * 32), blob=ref(EVIDENCE)) for n in range(8))},
    ],
)
def test_lies_about_what_is_offered(town: World, lie: dict[str, Any]) -> None:
    """Whoever passes them on could have known: they are refused at the door, and nothing is fetched."""

    def attack(second: int) -> None:
        for node in town.nodes:
            town.tell(node, Heard(frame=frame(second, **lie), via=MALLORY.peer_id))

    throw(town, attack, seconds=8)
    assert is_out(town)
    for node in town.nodes:
        assert neighbourhood(node.core).inbox.newest_of(MALLORY.peer_id) is None
    unharmed(town, rounds=14)


def test_claims_that_are_allowed_and_absurd(town: World) -> None:
    """All tokens of the world, the largest capacity and importances, contexts of two gigabytes: nobody gives anything
    for them, and nobody is fined."""
    contexts = tuple(
        ContextRef(key=bytes([n] * 32), blob=BlobRef(digest=bytes(32), size=2**31 - 1)) for n in range(4)
    )
    claims: dict[str, Any] = {
        "tokens": 2**53,
        "samples": 2**53,
        "tokens_total": 2**53,
        "samples_total": 2**53,
        "capacity": 1000,
        "importance": b"\xff\xff\x7f\x7f" * 4,
        "contexts": contexts,
    }

    def attack(second: int) -> None:
        for node in town.nodes:
            town.tell(node, Heard(frame=frame(second, **claims), via=RELAY))

    throw(town, attack)
    unharmed(town)
    pulled = [effect.size for one in town.log for effect in one.effects if isinstance(effect, Pull)]
    assert max(pulled) < 1000
