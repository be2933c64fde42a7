"""Which addresses are believed from whom."""

from __future__ import annotations

import pytest

from peers.identity import Identity
from peers.net.addresses import parse_multiaddress
from peers.net.limits.believable import believed_from

ANNA = Identity(bytes([2]) * 32).peer_id
PUBLIC, HERE, HOME, OFFICE, CARRIER, ULA = (
    "93.184.216.34",
    "127.0.0.1",
    "192.168.1.20",
    "10.4.0.9",
    "100.64.3.9",
    "fd12:3456:789a:1::5",
)
EVERYWHERE = (PUBLIC, HERE, HOME, OFFICE, CARRIER, ULA, "2606:2800:220:1::5", None)


def is_believed(there: str, remote: str | None, port: int = 4001) -> bool:
    kind = "ip6" if ":" in there else "ip4"
    address = parse_multiaddress(f"/{kind}/{there}/tcp/{port}/p2p/{ANNA}")
    return believed_from(remote, [address]) == [address]


@pytest.mark.parametrize(
    "address",
    [
        "224.0.0.1",
        "239.255.255.250",
        "ff02::1",
        "169.254.169.254",
        "169.254.1.2",
        "169.254.170.2",
        "fe80::1",
        "fec0::1",
        "255.255.255.255",
        "240.0.0.1",
        "0.0.0.1",
        "192.0.0.192",
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:93.184.216.34",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "::2",
        "100::1",
        "198.18.0.1",
    ],
)
def test_addresses_that_are_no_peers_are_believed_from_nobody(address: str) -> None:
    assert not any(is_believed(address, remote) for remote in EVERYWHERE)


def test_public_addresses_are_believed_from_everybody() -> None:
    for address in ("8.8.8.8", "2606:2800:220:1::9"):
        assert all(is_believed(address, remote) for remote in EVERYWHERE)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_addresses_are_believed_from_this_machine_only(address: str) -> None:
    believed = {remote for remote in (*EVERYWHERE, "::1", "::ffff:127.0.0.1") if is_believed(address, remote)}
    assert believed == {HERE, "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "home"),
    [
        ("192.168.7.7", HOME),
        ("10.200.0.1", OFFICE),
        ("100.127.0.1", CARRIER),
        ("fd12:3456:789a:2::9", ULA),
        ("172.17.0.2", "172.20.0.1"),
    ],
)
def test_private_addresses_are_believed_from_their_own_range_and_from_this_machine(
    address: str, home: str
) -> None:
    assert {remote for remote in (*EVERYWHERE, home) if is_believed(address, remote)} == {home, HERE}


def test_a_private_ipv6_network_is_one_48() -> None:
    assert not is_believed("fd12:3456:789b:1::5", ULA)


def test_names_are_not_believed_because_they_can_be_pointed_elsewhere_later() -> None:
    address = parse_multiaddress(f"/dns4/peer.example.org/tcp/4001/p2p/{ANNA}")
    assert not any(believed_from(remote, [address]) for remote in EVERYWHERE)


@pytest.mark.parametrize("port", [1, 22, 25, 53, 80, 443, 1023, 3306, 6379, 27017])
def test_ports_of_other_services_are_not_believed(port: int) -> None:
    assert not is_believed("8.8.8.8", PUBLIC, port)
    assert not is_believed(HERE, HERE, port)
