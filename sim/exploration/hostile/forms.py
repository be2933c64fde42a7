"""Acts with false forms: packed updates and byte rows that are not what their announcement says."""

from __future__ import annotations

import math
import struct

import numpy as np

from sim.exploration.hostile.frames import ref
from sim.exploration.hostile.peer import HostilePeer
from sim.toy.units import BYTE_ROWS, DIMENSION, SCHEMAS, fingerprints
from sim.world.simulated_peer import SimulatedPeer
from wire.codec import decode_announcement
from wire.digest import NO_DIGEST, Content
from wire.messages import BlobRef, PackedRef
from wire.updates.packed_updates import pack_update
from wire.updates.packing import OnSteps


def pack_falsely(me: HostilePeer, victim: SimulatedPeer) -> None:
    """An update of its own beside packed forms of something else: a key frame with a scale of any power of two, and
    differences from an update that the victim may hold, or that nobody has."""
    key = me.key
    update = me.frames.update(tuple(me.rng.uniform(-1, 1) for _ in range(DIMENSION)))
    me.serve(key, update.digest, update.data)
    bases = [NO_DIGEST, me.rng.randbytes(32)]
    if me.overheard:
        bases[1] = decode_announcement(me.rng.choice(me.overheard)).announcement.update.digest
    forms: list[PackedRef] = []
    for base in bases[: me.rng.choice((1, 2))] if me.rng.random() < 0.5 else bases[1:]:
        packed = Content.of(_packed(me, update.size - 1))
        me.serve(key, packed.digest, packed.data)
        forms.append(PackedRef(base=base, blob=ref(packed)))
    me.round += 1
    frame = me.frames.announcement(key, me.round, update=ref(update), packed=tuple(forms))
    me.frame_heard(victim, frame, key)


def forge_byte_rows(me: HostilePeer, victim: SimulatedPeer) -> None:
    """Byte rows of another tokenizer: of random bytes, with one number changed to any bits, of another length, or
    promised and not there."""
    key, honest = me.key, BYTE_ROWS.data
    at = me.rng.randrange(len(honest) - 3)
    changed = honest[:at] + struct.pack("<I", me.rng.getrandbits(32)) + honest[at + 4 :]
    cut = honest[: max(1, me.rng.randrange(len(honest)))]
    data = me.rng.choice((me.rng.randbytes(len(honest)), changed, cut, honest + honest, None))
    if data is None:
        rows = BlobRef(digest=me.rng.randbytes(32), size=me.rng.choice((len(honest), 2**31 - 1)))
    else:
        content = Content.of(data)
        me.serve(key, content.digest, content.data)
        rows = ref(content)
    me.round += 1
    frame = me.frames.announcement(
        key, me.round, fingerprints=fingerprints("tongue:hostile", me.frames.form), byte_rows=rows
    )
    me.frame_heard(victim, frame, key)


def _packed(me: HostilePeer, most: int) -> bytes:
    """At most so many bytes: a whole key frame of other numbers at a scale of any power of two, or bytes that only
    begin as one does."""
    if me.rng.random() < 0.5:
        schema, offer = SCHEMAS[me.frames.form], me.frames.offer()
        exponent = me.rng.choice((0, 0, -8, 30))
        tensors = {
            spec.name: np.full(spec.shape, math.ldexp(me.rng.randint(0, 3), exponent), np.float32)
            for spec in schema.layout(offer).tensors
        }
        whole = pack_update(OnSteps(tensors, dict.fromkeys(tensors, exponent)), schema, offer)
        if len(whole) <= most:
            return whole
    exponents = struct.pack("b", me.rng.choice((0, -60, 60, 120, -128))) * DIMENSION
    return (exponents + me.rng.randbytes(most))[: me.rng.randint(1, most)]
