"""What the attackers of a run were sent by honest peers. They share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from peers.core.events import Heard, PeerId, Pulled, Replied
from sim.world.trace import Happened
from wire.bounded import BoundedDict
from wire.codec import decode_announcement, decode_reply
from wire.digest import Content
from wire.errors import WireError
from wire.messages import Announcement

HELD_BLOBS = 512
"""Blobs that are remembered, the newest of them. Guess: a few rounds of a large run."""


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """An honest peer's newest announcement of which everything arrived."""

    announcement: Announcement
    update: Content
    evidence: Content


@dataclass(eq=False)
class Overheard:
    """Follows the events of the attackers' cores. `attackers` are the indices of their nodes, `keys` their public
    keys: what they say themselves is not news."""

    attackers: set[int] = field(default_factory=set[int])
    keys: set[bytes] = field(default_factory=set[bytes])

    def __post_init__(self) -> None:
        self._blobs: BoundedDict[bytes, Content] = BoundedDict(HELD_BLOBS)
        self._newest: dict[bytes, Announcement] = {}
        self._whole: dict[bytes, Published] = {}

    def listen(self, happened: Iterable[Happened]) -> None:
        for one in happened:
            if one.peer in self.attackers:
                match one.event:
                    case Heard(frame=frame):
                        self._announced(frame)
                    case Replied(reply=reply):
                        self._replied(reply)
                    case Pulled(content=content):
                        self._blobs[content.digest] = content
                    case _:
                        pass

    def known(self) -> dict[PeerId, Published]:
        """The newest whole announcement of each honest author, by its key in hexadecimal."""
        for author, announced in self._newest.items():
            update = self._blobs.get(announced.update.digest)
            evidence = self._blobs.get(announced.evidence.digest)
            if update is not None and evidence is not None:
                self._whole[author] = Published(announced, update, evidence)
        return {author.hex(): one for author, one in self._whole.items()}

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
        before = self._newest.get(announced.author)
        if announced.author in self.keys or (before is not None and before.round >= announced.round):
            return
        self._newest[announced.author] = announced
        if signed.payload:
            self._blobs[announced.evidence.digest] = Content(announced.evidence.digest, signed.payload)
