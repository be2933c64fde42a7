"""Names of hosts, resolved as the system resolves them: /etc/hosts, mDNS (`.local`), DNS, whatever it is set up for.

The library asks DNS servers itself, which know nothing of names that only this machine or its network knows.
"""

from __future__ import annotations

import socket
from typing import Final

import trio
from multiaddr import Multiaddr

from trust.names import escaped

_FAMILIES: Final = {
    "dns": socket.AF_UNSPEC,
    "dns4": socket.AF_INET,
    "dns6": socket.AF_INET6,
}


class UnknownName(Exception):
    """The system knows no address for a host name."""


async def resolved(maddr: Multiaddr) -> list[Multiaddr]:
    """The addresses behind `/dns|dns4|dns6/NAME/tcp/PORT...`, in the system's order; an IP address is its own.

    The system's call blocks, so it runs in a thread, which is left behind where this is cancelled. Raises
    `UnknownName`.
    """
    _, kind, name, rest = str(maddr).split("/", 3)
    family = _FAMILIES.get(kind)
    if family is None:
        return [maddr]
    try:
        found = await trio.socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except OSError as error:
        why = (error.strerror or str(error)).rstrip(".")
        raise UnknownName(f"{escaped(name)}: the system knows no such host ({why})") from None
    hosts = dict.fromkeys((one[0], str(one[4][0])) for one in found)
    addresses = [
        Multiaddr(f"/{'ip6' if of == socket.AF_INET6 else 'ip4'}/{host}/{rest}")
        for of, host in hosts
        if "%" not in host
    ]
    if not addresses:
        raise UnknownName(f"{escaped(name)}: the system knows no address of this kind")
    return addresses
