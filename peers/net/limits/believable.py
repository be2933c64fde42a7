"""Which addresses are believed when another peer names them, whether its own or somebody else's.

Whoever can make a peer dial what it names can make it knock at routers, metadata services and printers. So an address
from the network counts only if it could be meant for this peer: never multicast, link-local, broadcast, unspecified
or reserved addresses nor the metadata services of clouds; loopback addresses only from a peer on this machine; private
ones only from a peer of the same private range; no names, which can be pointed elsewhere after they were checked; and
no ports at which other services listen. What the user names is not subject to this.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from peers.net.addresses import Address
from peers.net.limits.groups import SHARED_V4, IpAddress, parsed_ip

LEAST_PORT: Final = 1_024
"""Lower ports belong to the services of a machine (22, 25, 53, 80), and a peer that is not root cannot listen there."""
SERVICE_PORTS: Final = frozenset(
    {1080, 1433, 1521, 1723, 2049, 2375, 2376, 3128, 3306, 3389, 5060, 5432, 5900, 5984, 6000, 6379, 6443}
    | {6667, 8080, 8443, 9200, 9300, 10250, 11211, 25565, 27017}
)
"""Ports above it at which something else usually listens, such as databases: a peer there is not found by hearsay.
The idea is Bitcoin Core's `IsBadPort`."""

_METADATA: Final[frozenset[IpAddress]] = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
        ),
    )
)
"""Amazon, Google and Azure; Amazon's containers; Alibaba; Azure's wire server; Oracle; Amazon by IPv6."""
_NOBODY: Final = tuple(
    map(ipaddress.ip_network, ("0.0.0.0/8", "192.0.0.0/24", "198.18.0.0/15", "fec0::/10", "100::/64"))
)
_PRIVATE_V4: Final = (
    *map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    SHARED_V4,
)
_PRIVATE_V6: Final = ipaddress.IPv6Network("fc00::/7")
_PRIVATE_V6_PREFIX: Final = 48


def believed_from(remote: str | None, addresses: Iterable[Address]) -> list[Address]:
    """Those of the addresses that a peer at the IP address `remote` may name to us, or we to it."""
    there = None if remote is None else parsed_ip(remote)
    return [address for address in addresses if _is_believed(address, there)]


def is_dialled(address: Address) -> bool:
    """Whether any peer but the user may cause a dial there: the address is of a kind that peers have."""
    ip = _ip_of(address)
    return ip is not None and not _is_nobodys(ip)


def _is_believed(address: Address, there: IpAddress | None) -> bool:
    ip = _ip_of(address)
    port = int(address.transport.rpartition("/")[2])
    if ip is None or _is_nobodys(ip) or port < LEAST_PORT or port in SERVICE_PORTS:
        return False
    if ip.is_loopback:
        return there is not None and there.is_loopback
    block = _private_block(ip)
    return block is None or (there is not None and (there.is_loopback or there in block))


def _ip_of(address: Address) -> IpAddress | None:
    """None for a name, and for IPv4 in the clothes of IPv6, which no honest peer announces."""
    _, kind, host, *_ = address.transport.split("/")
    if kind not in ("ip4", "ip6"):
        return None
    ip = parsed_ip(host)
    return ip if ip is not None and f"ip{ip.version}" == kind else None


def _is_nobodys(ip: IpAddress) -> bool:
    if ip.is_loopback:
        return False
    return (
        ip.is_multicast
        or ip.is_link_local
        or ip.is_unspecified
        or ip.is_reserved
        or ip in _METADATA
        or any(ip in network for network in _NOBODY)
    )


def _private_block(ip: IpAddress) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The private range of which an address is; None for a public one. Of IPv6 it is the /48 that one site drew."""
    if isinstance(ip, ipaddress.IPv4Address):
        return next((network for network in _PRIVATE_V4 if ip in network), None)
    return ipaddress.IPv6Network((ip, _PRIVATE_V6_PREFIX), strict=False) if ip in _PRIVATE_V6 else None
