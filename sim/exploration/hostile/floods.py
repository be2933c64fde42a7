"""Acts that send too much."""

from __future__ import annotations

from sim.exploration.hostile.frames import ref
from sim.exploration.hostile.peer import HostilePeer
from sim.toy.units import DIMENSION, fingerprints
from sim.world.simulated_peer import SimulatedPeer
from wire.digest import digest_of
from wire.messages import BlobRef

FLOOD = 40
"""Messages of one act of a flood. Guess: enough for the rate limits to matter, few enough for thousands of worlds."""


def flood(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.key
    for _ in range(FLOOD):
        me.round += 1
        nothing = BlobRef(
            digest=digest_of(b"%d" % me.round), size=ref(me.frames.update((0.0,) * DIMENSION)).size
        )
        me.frame_heard(victim, me.frames.announcement(key, me.round, update=nothing), key)


def flood_of_strangers(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.key
    for _ in range(FLOOD):
        me.frame_heard(victim, me.frames.announcement(me.stranger(), 0), key)


def flood_of_greetings(me: HostilePeer, victim: SimulatedPeer) -> None:
    key = me.key
    for _ in range(FLOOD):
        me.greet(victim, me.frames.greeting([]), key)


def flood_of_complaints(me: HostilePeer, victim: SimulatedPeer) -> None:
    """What is refused with a word to the user: other networks and impossible offers, of ever other authors."""
    key = me.key
    for _ in range(FLOOD):
        other = fingerprints(str(me.rng.random()), me.frames.form)
        me.frame_heard(victim, me.frames.announcement(me.stranger(), 0, fingerprints=other), key)
