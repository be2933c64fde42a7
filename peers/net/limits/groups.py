"""Address groups: the part of an IP address that costs something to have more of.

Identities are free and addresses are not, so limits and lots count by group. A group is one IPv4 address or one IPv6
/64, which is what a network gives to one customer or one machine; a wider group is the IPv4 /24 or the IPv6 /48 around
it, which is what one owner may have. IPv6 addresses that carry an IPv4 address (mapped, NAT64, 6to4, Teredo) belong to
the group of that address, or every IPv4 address would own a second set of places.

Loopback and private addresses are grouped like all others. Peers on one machine are one group.
"""

from __future__ import annotations

import ipaddress
from typing import Final

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

SHARED_V4: Final = ipaddress.IPv4Network("100.64.0.0/10")
"""Of carriers and of overlay networks; Python counts it as neither private nor global."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def group_of(address: str) -> str:
    """`v4:203.0.113.7` or `v6:2001:db8:1:2`; empty for what is no IP address. A zone (`%eth0`) does not count."""
    ip = parsed_ip(address)
    if ip is None:
        return ""
    return f"v4:{ip}" if ip.version == 4 else f"v6:{_prefix(ip, 64)}"


def wider_group_of(group: str) -> str:
    """The /24 or /48 around a group: `v4:203.0.113`, `v6:2001:db8:1`. Empty for an empty group."""
    kind, _, prefix = group.partition(":")
    if kind == "v4":
        return f"v4:{prefix.rpartition('.')[0]}"
    return f"v6:{prefix.rpartition(':')[0]}" if kind == "v6" else ""


def is_loopback_group(group: str) -> bool:
    return group.startswith("v4:127.") or group == "v6:0:0:0:0"


def is_private_group(group: str) -> bool:
    """Whether it is of a range that its network gives out for nothing: loopback, private, shared or link-local."""
    kind, _, prefix = group.partition(":")
    if kind == "v6":
        return is_loopback_group(group) or prefix.startswith(("fc", "fd", "fe80:"))
    ip = parsed_ip(prefix)
    return ip is not None and (ip.is_private or ip.is_link_local or ip in SHARED_V4)


def parsed_ip(address: str) -> IpAddress | None:
    """The IP address, as IPv4 where it carries one; None for what is no IP address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (_carried(ip) or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _carried(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _prefix(ip: IpAddress, bits: int) -> str:
    words = ip.exploded.split(":")[: bits // 16]
    return ":".join(f"{int(word, 16):x}" for word in words)
