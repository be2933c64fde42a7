"""What requests and answers are made of."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from wire.digest import Content

RequestId: TypeAlias = int


class Word(msgspec.Struct, frozen=True, tag=True):
    pass


class PushedShare(msgspec.Struct, frozen=True, kw_only=True):
    """The total mass that one peer has pushed to another up to `round`. `peer` is the other end: the receiver in a
    share to send, the sender in a share that was received."""

    peer: str
    round: int
    content: Content


class MadeContext(msgspec.Struct, frozen=True, kw_only=True):
    """A distilled context, and the key that names its inputs."""

    key: bytes
    content: Content


class PackedUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An update in packed form (`wire.updates.packing`). `base` is the digest of the update that its receiver must
    hold, `NO_DIGEST` for none."""

    base: bytes
    content: Content
