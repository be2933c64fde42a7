"""The check that no update of another base is fetched or merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gossipllm.work import Merge
from peers.core.effects import Publish, Pull
from peers.core.events import Heard, Replied
from sim.exploration.checks.violation import Watching
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from wire.codec import decode_announcement, decode_reply
from wire.errors import WireError
from wire.messages import Announcement, Fingerprints


@dataclass(slots=True)
class _Named:
    """Digests of updates by what the announcements that named them said of their bases."""

    ours: Fingerprints | None = None
    by: dict[bytes, list[Fingerprints]] = field(default_factory=dict[bytes, list[Fingerprints]])


class OwnBaseOnly(Watching):
    """An update that is fetched or merged was announced with the very base, tokenizer and layout of the peer."""

    def __init__(self) -> None:
        self._peers: dict[int, _Named] = {}

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        named = self._peers.setdefault(node.index, _Named())
        for announcement in _heard(happened):
            named.by.setdefault(announcement.update.digest, []).append(announcement.fingerprints)
        for effect in happened.effects:
            if isinstance(effect, Publish):
                named.ours = decode_announcement(effect.frame).announcement.fingerprints
            if isinstance(effect, Pull) and _is_foreign(named, effect.digest):
                yield "fetches an update of another base"
            if isinstance(effect, Merge):
                foreign = [one for one in effect.updates if _is_foreign(named, one.digest)]
                yield from ["merges an update of another base"] * len(foreign)


def _is_foreign(named: _Named, digest: bytes) -> bool:
    said = named.by.get(digest)
    return said is not None and named.ours is not None and named.ours not in said


def _heard(happened: Happened) -> Iterator[Announcement]:
    frames: tuple[bytes, ...] = ()
    try:
        match happened.event:
            case Heard(frame=frame):
                frames = (frame,)
            case Replied(reply=reply):
                frames = decode_reply(reply).frames
            case _:
                pass
    except WireError:
        return
    for frame in frames:
        try:
            yield decode_announcement(frame).announcement
        except WireError:
            continue
