"""The protocol by which neighbours tell each other where peers listen: `/gossipllm/peers/1`.

    length u16 | my addresses      asker -> answerer, at most 8
    length u16 | your neighbours'  answerer -> asker, at most 32

Little-endian length, then multiaddresses in ASCII separated by newlines. Of the asker's
addresses only those count that end in the asker's own id. The answer is hearsay: `limits/believable.py` says what of it
counts at all, `finding/hearsay.py` how many dials it may cause. Only connected peers are asked or answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import trio
from libp2p.abc import INetStream

from peers.net.addresses import MAX_ADDRESSES, MAX_CHARACTERS, Address, parse_multiaddress
from peers.net.host import PeerId
from peers.net.limits import faults
from peers.net.limits.believable import believed_from
from peers.net.limits.faults import ProtocolFault
from peers.net.limits.groups import parsed_ip
from peers.net.streams.framing import read_exactly

PEERS_PROTOCOL: Final = "/gossipllm/peers/1"
MAX_OWN: Final = MAX_ADDRESSES
MAX_OFFERED: Final = 32
_LENGTH_BYTES: Final = 2
_MAX_BYTES: Final = MAX_OFFERED * (MAX_CHARACTERS + 64)


async def ask(stream: INetStream, own: Sequence[str], *, deadline_s: float) -> list[Address]:
    """Tell where we listen, learn where others do. Raises `ProtocolFault` or the stream's errors."""
    with trio.fail_after(deadline_s):
        await _write(stream, own[:MAX_OWN])
        return await _read(stream, MAX_OFFERED)


async def answer(
    stream: INetStream, via: PeerId, offered: Sequence[str], *, deadline_s: float
) -> list[Address]:
    """Tell who our neighbours are; returns the asker's own addresses."""
    with trio.fail_after(deadline_s):
        theirs = await _read(stream, MAX_OWN)
        await _write(stream, offered[:MAX_OFFERED])
    return [address for address in theirs if address.peer == via]


def with_observed(claimed: Iterable[Address], observed: str | None) -> list[Address]:
    """The claimed addresses, and the same ports at the IP address from which the peer was seen to come.

    Behind a router a peer knows only its private address; its own port may have been forwarded. Of the claimed ones
    only those count that a peer at `observed` may name.
    """
    claimed = list(claimed)
    addresses = believed_from(observed, claimed)
    seen = None if observed is None else parsed_ip(observed)
    if seen is not None:
        kind = f"ip{seen.version}"
        for address in claimed:
            _, its_kind, _, _, port = address.transport.split("/")
            also = Address(address.peer, f"/{kind}/{seen}/tcp/{port}")
            if its_kind == kind and also not in addresses:
                addresses += believed_from(observed, [also])
    return addresses[:MAX_OWN]


async def _read(stream: INetStream, limit: int) -> list[Address]:
    length = int.from_bytes(await read_exactly(stream, _LENGTH_BYTES), "little")
    if length > _MAX_BYTES:
        raise ProtocolFault("peers.length", f"{length} > {_MAX_BYTES}", faults.OVERSIZE)
    try:
        lines = (await read_exactly(stream, length)).decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProtocolFault("peers.text", "not ASCII", faults.MALFORMED) from None
    addresses: list[Address] = []
    for line in lines[:limit]:
        with suppress(ValueError):  # A newer version may know kinds of address that we cannot dial.
            addresses.append(parse_multiaddress(line))
    return addresses


async def _write(stream: INetStream, addresses: Sequence[str]) -> None:
    data = "\n".join(addresses).encode("ascii")
    await stream.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
