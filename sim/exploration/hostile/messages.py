"""Acts below and at the door: bytes that are no message, forged, repeated and contradictory announcements."""

from __future__ import annotations

from sim.exploration.hostile.frames import ref
from sim.exploration.hostile.peer import HostilePeer
from sim.toy.learner import EVIDENCE
from sim.toy.units import DIMENSION, fingerprints
from sim.world.simulated_peer import SimulatedPeer
from wire.codec import SIGNATURE_BYTES, without_payload
from wire.messages import MAX_FRAMES, MAX_KNOWN, MAX_ROUND


def garbage(me: HostilePeer, victim: SimulatedPeer) -> None:
    key, data = me.key, me.rng.randbytes(me.rng.randrange(200))
    me.rng.choice((me.frame_heard, me.greet, me.reply))(victim, data, key)
    me.frame_heard(victim, me.frames.announcement(key, me.round)[: me.rng.randrange(400)], key)


def flip_a_bit(me: HostilePeer, victim: SimulatedPeer) -> None:
    if me.overheard:
        frame = bytearray(me.rng.choice(me.overheard))
        frame[me.rng.randrange(len(frame))] ^= 1 << me.rng.randrange(8)
        me.frame_heard(victim, bytes(frame), me.key)


def forge(me: HostilePeer, victim: SimulatedPeer) -> None:
    author = me.rng.choice(me.world.nodes)
    frame = me.frames.announcement(
        me.key,
        author.core.round + me.rng.randrange(-1, 4) if author.core.round else 0,
        author=author.keys.public_key,
        sign=lambda _: me.rng.randbytes(SIGNATURE_BYTES),
    )
    me.frame_heard(victim, frame, me.key)


def replay(me: HostilePeer, victim: SimulatedPeer) -> None:
    """Old frames again, singly and as the reply to a greeting, newest last or first."""
    if me.overheard:
        key, old = me.key, me.rng.sample(me.overheard, min(10, len(me.overheard)))
        for frame in old:
            me.frame_heard(victim, frame, key)
        me.reply(victim, me.frames.reply([without_payload(frame) for frame in old]), key)


def strip_payload(me: HostilePeer, victim: SimulatedPeer) -> None:
    """An honest frame without its inline predictions, or with others in their place."""
    if me.overheard:
        bare = without_payload(me.overheard[-1])
        me.frame_heard(victim, bare + me.rng.choice((b"", bytes(len(EVIDENCE.data)))), me.key)


def equivocate(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.keys[0]
    update = me.frames.update((me.rng.random(),) * DIMENSION)
    me.serve(key, update.digest, update.data)
    me.frame_heard(victim, me.frames.announcement(key, me.rng.randrange(3), update=ref(update)), key)


def run_ahead(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.key
    for round_ in (MAX_ROUND, me.rng.randrange(MAX_ROUND), 0):
        me.frame_heard(victim, me.frames.announcement(key, round_), key)


def greet_with_lies(me: HostilePeer, victim: SimulatedPeer) -> None:
    """Rounds that honest peers never reached, other networks, and as many authors as fit."""
    authors = [(node.keys.public_key, MAX_ROUND) for node in me.world.nodes]
    many = [(me.rng.randbytes(32), me.rng.randrange(MAX_ROUND)) for _ in range(MAX_KNOWN)]
    greeting = me.rng.choice(
        (
            me.frames.greeting(authors),
            me.frames.greeting(many),
            me.frames.greeting([*many, *many]),
            me.frames.greeting([], of=fingerprints("another")),
            me.frames.greeting([], net=bytes(32)),
        )
    )
    me.greet(victim, greeting, me.key)


def reply_with_lies(me: HostilePeer, victim: SimulatedPeer) -> None:
    frames = [me.frames.announcement(me.stranger(), 0, inline=False) for _ in range(MAX_FRAMES - 3)]
    frames += [me.rng.randbytes(100), b""]
    me.rng.shuffle(frames)
    me.reply(victim, me.frames.reply(frames, net=me.rng.choice((None, bytes(32)))), me.key)


def flap(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.key
    me.greet(victim, me.frames.greeting([]), key)
    me.disconnect(victim, key)
