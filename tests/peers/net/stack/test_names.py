"""Names of hosts are those that the system knows."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from multiaddr import Multiaddr

from peers.net.stack.names import UnknownName, resolved

HOSTS = {"box.local": ["192.168.1.7", "fd00::7"], "four.local": ["192.168.1.8"]}


class System(trio.abc.HostnameResolver):
    """A system that knows these hosts."""

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *_: int, **__: int) -> Any:
        del port
        await trio.lowlevel.checkpoint()
        found = [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0))
            for one in HOSTS.get(host.decode() if isinstance(host, bytes) else host, [])
        ]
        wanted = [one for one in found if family in (socket.AF_UNSPEC, one[0])]
        if not wanted:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return wanted

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def system() -> None:
    trio.socket.set_custom_hostname_resolver(System())


async def addresses(text: str) -> list[str]:
    return [str(one) for one in await resolved(Multiaddr(text))]


async def test_a_name_stands_for_all_its_addresses_of_the_kind(system: None) -> None:
    assert await addresses("/dns/box.local/tcp/4001") == [
        "/ip4/192.168.1.7/tcp/4001",
        "/ip6/fd00::7/tcp/4001",
    ]
    assert await addresses("/dns4/box.local/tcp/4001") == ["/ip4/192.168.1.7/tcp/4001"]
    assert await addresses("/dns6/box.local/tcp/4001") == ["/ip6/fd00::7/tcp/4001"]


async def test_an_ip_address_is_its_own(system: None) -> None:
    assert await addresses("/ip4/192.0.2.1/tcp/1") == ["/ip4/192.0.2.1/tcp/1"]


@pytest.mark.parametrize("text", ["/dns/nowhere.local/tcp/1", "/dns6/four.local/tcp/1"])
async def test_an_unknown_name_is_one_line(system: None, text: str) -> None:
    with pytest.raises(UnknownName) as caught:
        await resolved(Multiaddr(text))

    assert (
        str(caught.value)
        == f"{text.split('/')[2]}: the system knows no such host (Name or service not known)"
    )
