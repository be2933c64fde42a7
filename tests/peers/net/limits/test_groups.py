"""Address groups: what is one group, and that there is no second way to write an address."""

from __future__ import annotations

import pytest

from peers.net.limits.groups import group_of, wider_group_of


@pytest.mark.parametrize(
    ("address", "group", "wider"),
    [
        ("203.0.113.7", "v4:203.0.113.7", "v4:203.0.113"),
        ("127.0.0.1", "v4:127.0.0.1", "v4:127.0.0"),
        ("192.168.1.20", "v4:192.168.1.20", "v4:192.168.1"),
        ("2001:db8:1:2:3:4:5:6", "v6:2001:db8:1:2", "v6:2001:db8:1"),
        ("2001:db8::", "v6:2001:db8:0:0", "v6:2001:db8:0"),
        ("::1", "v6:0:0:0:0", "v6:0:0:0"),
        ("fe80::1%eth0", "v6:fe80:0:0:0", "v6:fe80:0:0"),
    ],
)
def test_a_group_is_one_ipv4_address_or_one_ipv6_64_and_a_wider_one_holds_it(
    address: str, group: str, wider: str
) -> None:
    assert group_of(address) == group
    assert wider_group_of(group) == wider


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:203.0.113.7",
        "::ffff:cb00:7107",
        "64:ff9b::203.0.113.7",
        "2002:cb00:7107::1",
        "2002:cb00:7107:ffff::9",
        "2001:0:4136:e378:8000:63bf:34ff:8ef8",
    ],
)
def test_an_ipv6_address_that_carries_an_ipv4_address_is_of_its_group(address: str) -> None:
    assert group_of(address) == "v4:203.0.113.7"


@pytest.mark.parametrize("address", ["", "example.org", "1.2.3", "1.2.3.4.5", "%eth0", "::g"])
def test_what_is_no_ip_address_has_no_group(address: str) -> None:
    assert group_of(address) == ""
    assert wider_group_of("") == ""
