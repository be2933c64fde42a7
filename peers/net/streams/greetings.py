"""Greetings: one length-prefixed request and one reply on a stream of `messages.KNOWN_PROTOCOL`.

    length u32 | greeting          asker -> answerer
    length u32 | reply             answerer -> asker; a stream closed without one is a refusal

Little-endian. `wire/codec.py` defines the bytes; here only their number counts.
"""

from __future__ import annotations

from typing import Final

import trio
from libp2p.abc import INetStream

from peers.net.host import Peer, PeerId
from peers.net.limits import faults
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.streams.framing import read_exactly
from wire.codec import MAX_GREETING_BYTES, MAX_REPLY_BYTES

_LENGTH_BYTES: Final = 4


async def ask(stream: INetStream, greeting: bytes, meter: TrafficMeter, *, deadline_s: float) -> bytes:
    """The reply. Raises `ProtocolFault`, `trio.TooSlowError` or the stream's errors."""
    with trio.fail_after(deadline_s):
        await _write(stream, greeting)
        meter.sent("known", len(greeting))
        reply = await _read(stream, MAX_REPLY_BYTES, "reply.length")
        meter.received("known", len(reply))
        return reply


async def answer(
    stream: INetStream, peer: Peer, via: PeerId, meter: TrafficMeter, *, deadline_s: float
) -> None:
    """Serve one greeting. Raises as `ask`."""
    with trio.fail_after(deadline_s):
        greeting = await _read(stream, MAX_GREETING_BYTES, "greeting.length")
    meter.received("known", len(greeting))
    reply = peer.greeted(greeting, via)
    if reply is None:
        return
    with trio.fail_after(deadline_s):
        await _write(stream, reply)
    meter.sent("known", len(reply))


async def _read(stream: INetStream, limit: int, field: str) -> bytes:
    length = int.from_bytes(await read_exactly(stream, _LENGTH_BYTES), "little")
    if length > limit:
        raise ProtocolFault(field, f"{length} > {limit}", faults.OVERSIZE)
    return await read_exactly(stream, length)


async def _write(stream: INetStream, data: bytes) -> None:
    await stream.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
