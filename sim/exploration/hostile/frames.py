"""Well-formed messages of a toy network with any contents, as a hostile peer makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from sim.toy.learner import EVIDENCE
from sim.toy.units import DIMENSION, SCHEMAS, Form, Vector, fingerprints, part_bytes, whole_bytes
from sim.world.keys import ToyKeys
from wire.codec import encode_announcement
from wire.digest import NO_DIGEST, Content
from wire.messages import (
    Announcement,
    BlobRef,
    Fingerprints,
    Greeting,
    Latest,
    Reply,
    network_id,
)
from wire.updates.units import Offer

Sign: TypeAlias = Callable[[bytes], bytes]

NETWORK = "gossipllm"


class Frames:
    """`pushes` says that the network mixes by push-sum."""

    def __init__(self, form: Form, *, pushes: bool) -> None:
        self.form: Form = form
        self.pushes = pushes
        self.fingerprints = fingerprints(form=form)
        self.net = network_id(NETWORK, self.fingerprints.reference)

    def announcement(
        self, key: ToyKeys, round_: int, *, sign: Sign | None = None, inline: bool = True, **fields: Any
    ) -> bytes:
        """A frame signed by its author, or by `sign`. Fields that are not given are those of an honest peer."""
        values: dict[str, Any] = {
            "net": self.net,
            "fingerprints": self.fingerprints,
            "author": key.public_key,
            "name": "hostile",
            "round": round_,
            "previous": NO_DIGEST,
            "update": ref(self.update((0.0,) * DIMENSION)),
            "offer": self.offer(),
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
        made = Announcement(**{**values, **fields})
        payload = EVIDENCE.data if inline and made.evidence == ref(EVIDENCE) else b""
        return encode_announcement(made, sign or key.sign, payload=payload)

    def offer(self) -> Offer:
        return SCHEMAS[self.form].offer(range(len(SCHEMAS[self.form].units)), 1)

    def update(self, w: Vector) -> Content:
        if self.form == "whole":
            return Content.of(whole_bytes(w))
        return Content.of(part_bytes(w, range(DIMENSION), self.offer()))

    def greeting(
        self, latest: Sequence[tuple[bytes, int]], *, of: Fingerprints | None = None, net: bytes | None = None
    ) -> bytes:
        # Not `encode_greeting`, which refuses what receivers refuse.
        return msgspec.msgpack.encode(
            Greeting(
                net=net or self.net,
                fingerprints=of or self.fingerprints,
                latest=tuple(Latest(author=author, round=round_) for author, round_ in latest),
            )
        )

    def reply(self, frames: Sequence[bytes], *, net: bytes | None = None) -> bytes:
        return msgspec.msgpack.encode(
            Reply(net=net or self.net, fingerprints=self.fingerprints, frames=tuple(frames))
        )


def ref(content: Content) -> BlobRef:
    return BlobRef(digest=content.digest, size=content.size)
