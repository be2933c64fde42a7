"""Equivocation: one round announced twice, to different halves of the network."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sim.adversaries.intruder import Intruder, Town
from sim.world.trace import Happened
from wire.codec import encode_announcement
from wire.digest import digest_of
from wire.messages import BlobRef


class Equivocation(Intruder):
    """The second announcement names another update. Every second honest peer is told of it."""

    def act(self, town: Town, happened: Sequence[Happened]) -> None:
        for node, announced, payload in town.published(happened, town.attackers):
            other = digest_of(announced.update.digest)
            second = msgspec.structs.replace(
                announced, update=BlobRef(digest=other, size=announced.update.size)
            )
            frame = encode_announcement(second, node.keys.sign, payload=payload)
            town.tell(town.honest[::2], frame, node.id)
