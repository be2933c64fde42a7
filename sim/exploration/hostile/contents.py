"""Acts with bad contents: updates, predictions, claims and shares of well-formed announcements."""

from __future__ import annotations

import math
import struct

from sim.exploration.hostile.frames import ref
from sim.exploration.hostile.peer import HostilePeer
from sim.toy.learner import EVIDENCE
from sim.toy.units import DIMENSION
from sim.world.simulated_peer import SimulatedPeer
from wire.codec import decode_announcement
from wire.digest import Content
from wire.messages import MAX_CAPACITY, BlobRef, ContextRef, ShareRef


def copy(me: HostilePeer, victim: SimulatedPeer) -> None:
    """An honest update as its own, served from what its author serves."""
    if not me.overheard or me.frames.pushes:
        return
    key, honest = me.key, decode_announcement(me.overheard[-1]).announcement
    for node in me.world.nodes:
        data = node.core.blob(honest.update.digest, key.peer_id)
        if data is not None:
            me.serve(key, honest.update.digest, data)
    me.round += 1
    frame = me.frames.announcement(key, me.round, update=honest.update, offer=honest.offer)
    me.frame_heard(victim, frame, key)


def withhold(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.key
    me.round += 1
    size = ref(me.frames.update((0.0,) * DIMENSION)).size
    missing = BlobRef(digest=me.rng.randbytes(32), size=size)
    evidence = BlobRef(digest=me.rng.randbytes(32), size=EVIDENCE.size)
    frame = me.frames.announcement(key, me.round, update=missing, evidence=evidence, inline=False)
    me.frame_heard(victim, frame, key)


def serve_other_bytes(me: HostilePeer, victim: SimulatedPeer) -> None:
    """Bytes that are not those of the digest; and for digests of honest peers too, as a relay."""
    key, update = me.key, me.frames.update((me.rng.random(),) * DIMENSION)
    me.serve(key, update.digest, me.rng.randbytes(update.size))
    if me.overheard:
        honest = decode_announcement(me.overheard[-1]).announcement.update
        me.serve(key, honest.digest, me.rng.randbytes(honest.size))
        me.frame_heard(victim, me.overheard[-1], key)
    me.round += 1
    me.frame_heard(victim, me.frames.announcement(key, me.round, update=ref(update)), key)


def _announce_vector(me: HostilePeer, victim: SimulatedPeer, w: tuple[float, ...]) -> None:
    key, update = me.key, me.frames.update(w)
    me.serve(key, update.digest, update.data)
    me.round += 1
    me.frame_heard(victim, me.frames.announcement(key, me.round, update=ref(update)), key)


def not_finite(me: HostilePeer, victim: SimulatedPeer) -> None:
    _announce_vector(me, victim, (me.rng.choice((math.nan, math.inf)), 0.0, 0.0, 0.0))


def loud(me: HostilePeer, victim: SimulatedPeer) -> None:
    _announce_vector(me, victim, (me.rng.choice((3e38, 1e6, 1e3)) * me.rng.uniform(0.1, 1), 0.0, 0.0, 0.0))


def opposite(me: HostilePeer, victim: SimulatedPeer) -> None:
    _announce_vector(me, victim, tuple(me.rng.uniform(-3, 0) for _ in range(DIMENSION)))


def random_update(me: HostilePeer, victim: SimulatedPeer) -> None:
    """The right digest and the right length of bytes that are no update."""
    key = me.key
    update = Content.of(me.rng.randbytes(me.frames.update((0.0,) * DIMENSION).size))
    me.serve(key, update.digest, update.data)
    me.round += 1
    me.frame_heard(victim, me.frames.announcement(key, me.round, update=ref(update)), key)


def claim(me: HostilePeer, victim: SimulatedPeer) -> None:
    """Every number as large as its type allows."""
    key = me.key
    nothing = BlobRef(digest=bytes(32), size=2**31 - 1)
    contexts = tuple(ContextRef(key=me.rng.randbytes(32), blob=nothing) for _ in range(4))
    me.round += 1
    counts = dict.fromkeys(("tokens", "samples", "steps", "tokens_total", "samples_total"), 2**53)
    largest = struct.pack("<f", 3.4e38) * DIMENSION
    frame = me.frames.announcement(
        key, me.round, contexts=contexts, capacity=MAX_CAPACITY, importance=largest, **counts
    )
    me.frame_heard(victim, frame, key)


def push(me: HostilePeer, victim: SimulatedPeer) -> None:
    """A share of mass for the victim, of any bits."""
    key, share = me.key, Content.of(me.rng.randbytes(8 * (DIMENSION + 1)))
    me.serve(key, share.digest, share.data)
    me.round += 1
    shares = (ShareRef(to=victim.keys.public_key, blob=ref(share)),)
    me.frame_heard(victim, me.frames.announcement(key, me.round, shares=shares), key)
