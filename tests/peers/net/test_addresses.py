"""Parsing addresses, and what neighbours tell each other of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.identity import Identity
from peers.net.addresses import Address, parse_listen_address, parse_multiaddress
from peers.net.config import RETIRED_NETWORK_KEYS, NetworkConfig
from peers.net.streams.exchange import with_observed

ANNA = Identity(bytes([2]) * 32).peer_id


def at(peer: str, port: int = 4001, host: str = "192.0.2.1") -> Address:
    return Address(peer, f"/ip4/{host}/tcp/{port}")


def test_good_addresses() -> None:
    for transport in (
        "/ip4/192.0.2.1/tcp/4001",
        "/ip6/2001:db8::1/tcp/1",
        "/dns/example.org/tcp/65535",
        "/dns4/a-b.example/tcp/80",
    ):
        assert str(parse_multiaddress(f"{transport}/p2p/{ANNA}")) == f"{transport}/p2p/{ANNA}"
    spelled = parse_multiaddress(f"/ip6/2001:0DB8:0:0::1/tcp/0080/p2p/{ANNA}")
    assert spelled.transport == "/ip6/2001:db8::1/tcp/80"


@pytest.mark.parametrize(
    "spelling",
    [
        f"/dns/example.org/tcp/4001/p2p/{ANNA} ",
        f"  /dns/example.org/tcp/4001/p2p/{ANNA}\n",
        f"/dns/example.org/tcp/4001/p2p/{ANNA}/",
        f"/dns/example.org/tcp/4001/ipfs/{ANNA}",
        f"/dns/Example.ORG./tcp/04001/p2p/{ANNA}",
        f"/dnsaddr/example.org/tcp/4001/p2p/{ANNA}",
    ],
)
def test_one_address_has_one_spelling(spelling: str) -> None:
    canonical = f"/dns/example.org/tcp/4001/p2p/{ANNA}"
    assert str(parse_multiaddress(spelling)) == canonical
    assert NetworkConfig(join=(spelling, canonical)).join == (canonical,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must end in /p2p/"),
        ("example.org:4001", "must end in /p2p/"),
        ("/ip4/192.0.2.1/tcp/4001", "must end in /p2p/"),
        ("/ip4/192.0.2.1/tcp/4001/p2p/bob", "not the id of|not a peer id"),
        (f"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{ANNA}", "must look like"),
        (f"/ip4/192.0.2.1/udp/4001/p2p/{ANNA}", "must look like"),
        (f"/ip4/192.0.2.256/tcp/4001/p2p/{ANNA}", "is no ip4 address"),
        (f"/ip4/192.0.2.1/tcp/0/p2p/{ANNA}", r"port must be in 1\.\.65535"),
        (f"/ip4/192.0.2.1/tcp/65536/p2p/{ANNA}", "port must be"),
        (f"/ip4/192.0.2.1/tcp/\uff14\uff10/p2p/{ANNA}", "port must be"),
        (f"/ip4/0.0.0.0/tcp/4001/p2p/{ANNA}", "not where to dial"),
        (f"/ip6/fe80::1%eth0/tcp/1/p2p/{ANNA}", "with a zone"),
        (f"/dns/-x.example/tcp/1/p2p/{ANNA}", "no host name"),
        (f"/dns/{'a.' * 200}/tcp/1/p2p/{ANNA}", "must look like|no host name"),
        (f"/unix/x/tcp/1/p2p/{ANNA}", "must start with"),
        (f"/ip4/192.0.2.1/tcp/1/p2p/{ANNA}/p2p-circuit", "not a peer id"),
        (f"/ip4/1\n2/tcp/1/p2p/{ANNA}", "is no ip4 address"),
    ],
)
def test_bad_addresses_say_why_on_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_multiaddress(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for candidate in (text, f"/ip4/{text}/tcp/1/p2p/{ANNA}", f"/dns/{text}/tcp/1/p2p/{ANNA}"):
        with suppress(ValueError):
            parsed = parse_multiaddress(candidate)
            assert parse_multiaddress(str(parsed)) == parsed


def test_listen_addresses() -> None:
    assert parse_listen_address("/ip4/0.0.0.0/tcp/0") == ("0.0.0.0", 0)
    assert parse_listen_address("/ip6/::/tcp/9") == ("::", 9)
    with pytest.raises(ValueError, match="must start with /ip4/ or /ip6/"):
        parse_listen_address("/dns/example.org/tcp/1")


def test_configuration_is_checked_with_name_value_and_bound() -> None:
    with pytest.raises(ValueError, match=r"target_connections must be in 1\.\.4, got 16"):
        NetworkConfig(max_connections=4)
    with pytest.raises(ValueError, match=r"max_blob_bytes must be in 1\.\.2147483647, got 0"):
        NetworkConfig(max_blob_bytes=0)
    with pytest.raises(ValueError, match="must end in /p2p/"):
        NetworkConfig(join=("here",))
    with pytest.raises(ValueError, match="listen address"):
        NetworkConfig(listen="/dns/x/tcp/1")


def test_retired_settings_are_settings_no_more() -> None:
    assert not RETIRED_NETWORK_KEYS.keys() & {field.name for field in fields(NetworkConfig)}


def test_a_peer_behind_a_router_is_also_tried_where_it_came_from() -> None:
    claimed = [at(ANNA, 4001, "10.0.0.5")]
    assert with_observed(claimed, "198.51.100.7") == [at(ANNA, 4001, "198.51.100.7")]
    assert with_observed(claimed, "10.0.0.9") == [*claimed, at(ANNA, 4001, "10.0.0.9")]
    assert with_observed(claimed, "10.0.0.5") == claimed
    assert with_observed(claimed, "2001:db8::1") == []
    assert with_observed(claimed, None) == []
    assert with_observed([at(ANNA, 22, "10.0.0.5")], "198.51.100.7") == []
