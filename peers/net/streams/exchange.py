"""The protocol by which neighbours tell each other where peers listen: `/gossipllm/peers/1`.

    length u16 | my addresses      asker -> answerer, at most 8
    length u16 | your neighbours'  answerer -> asker, at most 32

Little-endian length, then multiaddresses in ASCII separated by newlines. Of the asker's
addresses only those count that end in the asker's own id. The answer is hearsay; `finding/book.py` says why that is
harmless. Only connected peers are asked or answered.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import trio
from libp2p.abc import INetStream

from peers.net.addresses import MAX_ADDRESSES, MAX_CHARACTERS, Address, parse_multiaddress
from peers.net.host import PeerId
from peers.net.limits import faults
from peers.net.limits.faults import ProtocolFault
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

    Behind a router a peer knows only its private address; its own port may have been forwarded.
    """
    addresses = usable_from(observed, claimed)
    if observed is None:
        return addresses
    seen = ipaddress.ip_address(observed.partition("%")[0])
    kind = f"ip{seen.version}"
    for address in tuple(addresses):
        _, its_kind, _, _, port = address.transport.split("/")
        if its_kind == kind:
            also = Address(address.peer, f"/{kind}/{seen}/tcp/{port}")
            if also not in addresses:
                addresses.append(also)
    return addresses[:MAX_OWN]


def usable_from(remote: str | None, addresses: Iterable[Address]) -> list[Address]:
    """The addresses that a peer at the IP address `remote` can use.

    Loopback addresses name this machine only to peers on this machine.
    """
    local = remote is None or ipaddress.ip_address(remote.partition("%")[0]).is_loopback
    return [at for at in addresses if local or not at.transport.startswith(("/ip4/127.", "/ip6/::1/"))]


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
