"""What attackers learn of honest peers, by what reached them."""

from __future__ import annotations

from typing import Any

from peers.core.events import Event, Heard, Pulled
from sim.adversaries.overheard import Overheard
from sim.toy.learner import fingerprints
from sim.world.keys import ToyKeys
from sim.world.trace import Happened
from wire.codec import encode_announcement
from wire.digest import NO_DIGEST, Content
from wire.messages import Announcement, BlobRef, network_id
from wire.updates.units import Offer

HONEST = ToyKeys.of("honest")
MINE = ToyKeys.of("mine")
FINGERPRINTS = fingerprints()


def ref(content: Content) -> BlobRef:
    return BlobRef(digest=content.digest, size=content.size)


def content(text: str) -> Content:
    return Content.of(text.encode())


def heard(round_: int, *, of: ToyKeys = HONEST) -> Heard:
    announcement = Announcement(
        net=network_id("gossipllm", FINGERPRINTS.reference),
        fingerprints=FINGERPRINTS,
        author=of.public_key,
        name="peer",
        round=round_,
        previous=NO_DIGEST,
        update=ref(content(f"update {round_}")),
        offer=Offer(0),
        evidence=ref(content(f"evidence {round_}")),
        tokens=1,
        samples=1,
        steps=1,
        tokens_total=1,
        samples_total=1,
        capacity=1,
        importance=b"",
        shares=(),
        contexts=(),
        capabilities=(),
        sent_at_s=0,
    )
    return Heard(frame=encode_announcement(announcement, of.sign), via="someone")


def pulled(text: str) -> Pulled:
    return Pulled(request=1, content=content(text))


def overheard(*events: Event, peer: int = 7) -> dict[str, Any]:
    attackers = Overheard(attackers={7}, keys={MINE.public_key})
    attackers.listen([Happened(0.0, peer, 1, event, ()) for event in events])
    return {
        name: (one.update.data, None if one.evidence is None else one.evidence.data)
        for name, one in attackers.known().items()
    }


def test_a_peer_is_known_when_its_update_came_with_predictions_or_without() -> None:
    assert overheard(heard(0), pulled("evidence 0")) == {}
    assert list(overheard(heard(0), pulled("update 0")).values()) == [(b"update 0", None)]
    assert list(overheard(heard(0), pulled("update 0"), pulled("evidence 0")).values()) == [
        (b"update 0", b"evidence 0")
    ]


def test_an_update_is_known_before_the_predictions_of_its_round_are_shown() -> None:
    first = (heard(0), pulled("update 0"), pulled("evidence 0"))

    assert list(overheard(*first, heard(1), pulled("update 1")).values()) == [(b"update 1", b"evidence 0")]


def test_old_news_does_not_replace_newer_news() -> None:
    newer = (heard(1), pulled("update 1"), pulled("evidence 1"))

    assert list(overheard(heard(0), *newer, pulled("update 0")).values()) == [(b"update 1", b"evidence 1")]


def test_neither_attackers_nor_what_honest_peers_hear_is_news() -> None:
    whole = (pulled("update 0"), pulled("evidence 0"))

    assert overheard(heard(0, of=MINE), *whole) == {}
    assert overheard(heard(0), *whole, peer=1) == {}
