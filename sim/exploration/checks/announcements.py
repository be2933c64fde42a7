"""Checks of what is announced and accepted: once each, and the same in all lives of a peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from peers.core.effects import Answer, Judge, Publish, Store, Verdict
from peers.core.events import Heard, Started, Stored
from sim.exploration.checks.violation import Watching
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from wire.codec import decode_announcement, decode_reply
from wire.digest import digest_of

Life = tuple[int, int]


class AcceptedOnce(Watching):
    """No frame is accepted twice in a life, and no round of an author more often than a proof of equivocation needs."""

    def __init__(self) -> None:
        self._frames: set[tuple[Life, bytes]] = set()
        self._rounds: Counter[tuple[Life, bytes, int]] = Counter()

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:  # noqa: ARG002
        if not isinstance(happened.event, Heard) or Judge(verdict=Verdict.ACCEPT) not in happened.effects:
            return
        life, frame = (happened.peer, happened.life), happened.event.frame
        announcement = decode_announcement(frame).announcement
        if (life, digest_of(frame)) in self._frames:
            yield f"accepts round {announcement.round} of {announcement.name!r} a second time"
        self._frames.add((life, digest_of(frame)))
        key = life, announcement.author, announcement.round
        self._rounds[key] += 1
        if self._rounds[key] > 2:
            yield f"accepts {self._rounds[key]} announcements of round {announcement.round} of one author"


class OneAnnouncementPerRound(Watching):
    """What a peer shows of itself for a round is one announcement, in all its lives, and on its disk before."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int], bytes] = {}
        self._asked: dict[tuple[Life, int], bytes] = {}
        self._durable: set[tuple[Life, bytes]] = set()

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        life, event = (happened.peer, happened.life), happened.event
        if isinstance(event, Started) and node.disk is not None:
            self._durable.add((life, node.disk.frame))
        if isinstance(event, Stored):
            self._durable.add((life, self._asked[life, event.generation]))
        for effect in happened.effects:
            match effect:
                case Store(saved=saved):
                    self._asked[life, saved.generation] = saved.frame
                case Publish(frame=frame):
                    if (life, frame) not in self._durable:
                        yield "publishes an announcement that is not on its disk"
                    yield from self._shown(node, frame)
                case Answer(reply=reply) if reply is not None:
                    for frame in decode_reply(reply).frames:
                        yield from self._shown(node, frame)
                case _:
                    pass

    def _shown(self, node: SimulatedPeer, data: bytes) -> Iterator[str]:
        frame = decode_announcement(data)
        announcement = frame.announcement
        if announcement.author != node.keys.public_key:
            return
        known = self._digests.setdefault((node.index, announcement.round), frame.digest)
        if known != frame.digest:
            yield f"announces round {announcement.round} with other contents than before"


class RoundsNeverFall(Watching):
    """A peer starts at the round that is on its disk or later, never writes an earlier one, and the rounds of its
    announcements never fall."""

    def __init__(self) -> None:
        self._published: dict[int, int] = {}

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        on_disk = node.disk.round if node.disk else 0
        published = self._published.get(node.index, 0)
        if isinstance(happened.event, Started) and node.core.round < max(on_disk, published):
            yield f"starts at round {node.core.round}, after {on_disk} was saved and {published} announced"
        for effect in happened.effects:
            if isinstance(effect, Store) and effect.saved.round < on_disk:
                yield f"saves round {effect.saved.round} over round {on_disk}"
            if isinstance(effect, Publish):
                round_ = decode_announcement(effect.frame).announcement.round
                if round_ < published:
                    yield f"announces round {round_} after round {published}"
                self._published[node.index] = round_
