"""What the attackers of a run were sent by honest peers. They share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from peers.core.events import Heard, Pulled, Replied
from sim.world.trace import Happened
from wire.bounded import BoundedDict
from wire.codec import decode_announcement, decode_reply
from wire.digest import Content
from wire.errors import WireError
from wire.messages import Announcement

MOST_AWAITED: Final = 65_536
"""Announced blobs that are recognised when they come, the newest of them. Guess: dozens of rounds of a large run."""


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """The newest update and the newest predictions of an honest peer that arrived. The predictions may be those of an
    earlier round, because peers show them only to those that have announced a round of their own; they are None where
    the attackers' strategy compares no predictions, and so fetches none."""

    announcement: Announcement
    """The announcement that the update belongs to."""
    update: Content
    evidence: Content | None


@dataclass(eq=False)
class Overheard:
    """Follows the events of the attackers' cores. `attackers` are the indices of their nodes, `keys` their public
    keys: what they say themselves is not news."""

    attackers: set[int] = field(default_factory=set[int])
    keys: set[bytes] = field(default_factory=set[bytes])

    def __post_init__(self) -> None:
        self._awaited: BoundedDict[bytes, Announcement] = BoundedDict(MOST_AWAITED)
        self._updates: dict[bytes, tuple[Announcement, Content]] = {}
        self._evidence: dict[bytes, tuple[Announcement, Content]] = {}

    def listen(self, happened: Iterable[Happened]) -> None:
        for one in happened:
            if one.peer in self.attackers:
                match one.event:
                    case Heard(frame=frame):
                        self._announced(frame)
                    case Replied(reply=reply):
                        self._replied(reply)
                    case Pulled(content=content):
                        self._came(content)
                    case _:
                        pass

    def known(self) -> dict[str, Published]:
        """What is known of each honest author of whom an update came, by its key in hexadecimal."""
        predictions = {author: content for author, (_, content) in self._evidence.items()}
        return {
            author.hex(): Published(announcement, update, predictions.get(author))
            for author, (announcement, update) in self._updates.items()
        }

    def _replied(self, reply: bytes) -> None:
        try:
            frames = decode_reply(reply).frames
        except WireError:
            return
        for frame in frames:
            self._announced(frame)

    def _announced(self, frame: bytes) -> None:
        try:
            signed = decode_announcement(frame)
        except WireError:
            return
        announced = signed.announcement
        if announced.author in self.keys:
            return
        for ref in (announced.update, announced.evidence):
            self._awaited[ref.digest] = announced
        if signed.payload:
            self._came(Content(announced.evidence.digest, signed.payload))

    def _came(self, content: Content) -> None:
        announced = self._awaited.get(content.digest)
        if announced is None:
            return
        held = self._updates if content.digest == announced.update.digest else self._evidence
        before = held.get(announced.author)
        if before is None or before[0].round < announced.round:
            held[announced.author] = (announced, content)
