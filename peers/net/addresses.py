"""Addresses of peers: libp2p multiaddresses over TCP, parsed strictly.

Of the many kinds that libp2p knows, only those are accepted that this network dials. An address is text from
strangers as often as from the user, so it is made canonical, its length is bounded, and it is escaped in errors.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from peers.identity import canonical_peer_id
from peers.net.host import PeerId

MAX_ADDRESSES: Final = 8
"""Addresses kept of one peer. A device has one for each interface and address family, rarely more."""
MAX_CHARACTERS: Final = 256
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """A peer and one place where it may listen."""

    peer: PeerId
    transport: str
    """Without the peer: `/ip4/192.0.2.1/tcp/4001`."""

    def __str__(self) -> str:
        return f"{self.transport}/p2p/{self.peer}"


def parse_multiaddress(text: str) -> Address:
    """An address that can be dialled: `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT/p2p/12D3...`.

    Raises `ValueError` with one line that says what is wrong. Case and spelling are made canonical.
    """
    shown = ascii(text[:MAX_CHARACTERS])
    # Pasted text often ends in a blank or a line end. /ipfs/ is what /p2p/ was called before 2019.
    transport, mark, peer = text.strip().replace("/ipfs/", "/p2p/").partition("/p2p/")
    if not mark:
        raise ValueError(f"address must end in /p2p/ and a peer id, got {shown}")
    try:
        peer = canonical_peer_id(peer.rstrip("/"))
    except ValueError as error:
        raise ValueError(f"address {shown}: {error}") from None
    kind, host, port = _split(transport, shown)
    if port == 0:
        raise ValueError(f"address {shown}: port must be in 1..65535, got 0")
    if kind in ("ip4", "ip6") and ipaddress.ip_address(host).is_unspecified:
        raise ValueError(f"address {shown}: {host} is where to listen, not where to dial")
    return Address(peer, f"/{kind}/{host}/tcp/{port}")


def parse_listen_address(text: str) -> tuple[str, int]:
    """IP address and port of `/ip4|ip6/ADDRESS/tcp/PORT`; port 0 for any. Raises `ValueError`."""
    shown = ascii(text[:MAX_CHARACTERS])
    kind, host, port = _split(text.strip(), shown)
    if kind not in ("ip4", "ip6"):
        raise ValueError(f"listen address must start with /ip4/ or /ip6/, got {shown}")
    return host, port


def _split(transport: str, shown: str) -> tuple[str, str, int]:
    parts = transport.split("/")
    if len(transport) > MAX_CHARACTERS or len(parts) != 5 or parts[0] or parts[3] != "tcp":
        raise ValueError(f"address must look like /ip4/192.0.2.1/tcp/4001, got {shown}")
    kind, host, port = parts[1], parts[2], parts[4]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"address {shown}: port must be in 0..65535, got {port!a}")
    if kind in ("ip4", "ip6"):
        if "%" in host:
            raise ValueError(
                f"address {shown}: an address with a zone ({host!a}) means nothing to other devices"
            )
        try:
            parsed = ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"address {shown}: {host!a} is no {kind} address") from None
        host = str(parsed)
    elif kind not in ("dns", "dns4", "dns6", "dnsaddr"):
        raise ValueError(f"address must start with /ip4/, /ip6/ or /dns/, got {shown}")
    elif len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise ValueError(f"address {shown}: {host!a} is no host name")
    else:
        # A dnsaddr with a port names a host like any other; without one it would stand for a list in DNS.
        kind, host = "dns" if kind == "dnsaddr" else kind, host.lower().removesuffix(".")
    return kind, host, int(port)
