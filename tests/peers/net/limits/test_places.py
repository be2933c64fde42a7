"""Places for inbound connections: who gets one while a stranger with many identities holds what it can."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.net.limits.places import (
    GRACE_S,
    HALF_OPEN,
    HALF_OPEN_PER_GROUP,
    KNOCKS_BURST,
    LOOPBACK_PLACES,
    PATIENCE_S,
    WIDER_FACTOR,
    Places,
    Ticket,
)

LOCAL, HONEST, CROWD = "v4:127.0.0.1", "v4:8.8.4.4", "v4:93.184.216.34"


@dataclass
class Host:
    """A host that notes which connections were ended, and whose time the test sets."""

    max_connections: int = 64
    now: float = 0.0
    worth: dict[str, float] = field(default_factory=dict[str, float])
    open: dict[str, Ticket] = field(default_factory=dict[str, Ticket])
    outbound: int = 0

    def __post_init__(self) -> None:
        self.places = Places(
            max_connections=self.max_connections,
            max_per_address=8,
            outbound=lambda: self.outbound,
            standing=lambda peer: self.worth.get(peer, 0.0),
        )

    def knock(self, name: str, group: str) -> Ticket | None:
        ticket = self.places.knock(group, lambda: self._ended(name), self.now)
        if ticket is not None:
            self.open[name] = ticket
        return ticket

    def connect(self, name: str, group: str, *, peer: str | None = None) -> bool:
        ticket = self.knock(name, group)
        if ticket is None or not self.places.seat(ticket, peer or name, self.now):
            self.open.pop(name, None)
            return False
        return True

    def _ended(self, name: str) -> None:
        del self.open[name]


def flooded(group: str = CROWD) -> Host:
    """A host whom a thousand identities of one address have tried to reach, slowly enough for every limit of rates."""
    host = Host()
    for number in range(1_000):
        host.connect(f"sybil {number}", group)
        host.now += 0.3
    return host


def test_one_address_gets_its_places_however_many_identities_it_has() -> None:
    assert len(flooded().open) == 8
    assert len(flooded("v6:2001:db8:1:2").open) == 8
    assert len(flooded("v4:192.168.1.7").open) == 8
    assert len(flooded(LOCAL).open) == LOOPBACK_PLACES


@pytest.mark.parametrize("crowd", [CROWD, LOCAL])
def test_an_honest_peer_of_another_address_gets_in_and_stays(crowd: str) -> None:
    host = flooded(crowd)
    assert host.connect("honest", HONEST)
    for number in range(1_000):
        host.connect(f"late sybil {number}", crowd)
        host.now += 0.3
    assert "honest" in host.open


def test_where_all_places_are_taken_the_newest_of_the_most_crowded_address_goes() -> None:
    host = Host(max_connections=16)  # twelve inbound
    for number in range(8):
        assert host.connect(f"sybil {number}", CROWD)
    for number in range(4):
        assert host.connect(f"guest {number}", f"v4:8.8.{number}.1")
    assert host.connect("honest", HONEST)
    assert "sybil 7" not in host.open
    assert len(host.open) == 12


def test_a_24_that_fills_its_addresses_one_by_one_counts_as_crowded() -> None:
    host = Host()
    for number in range(200):
        host.connect(f"sybil {number}", f"v4:93.184.216.{number}")
        host.now += 0.1
    assert len(host.open) == 8 * WIDER_FACTOR
    for number in range(40):
        assert host.connect(f"guest {number}", f"v4:8.{number}.1.1")
    assert sum(name.startswith("guest") for name in host.open) == 40


def test_the_proven_are_never_displaced_by_strangers() -> None:
    host = Host(max_connections=16)
    host.worth = {f"friend {number}": 1.0 for number in range(8)}
    for name in host.worth:
        assert host.connect(name, CROWD)
    for number in range(300):
        host.connect(f"stranger {number}", f"v4:8.8.{number % 250}.1")
        host.now += 1.0
    assert set(host.worth) <= set(host.open)


def test_a_proven_peer_gets_in_at_once_where_strangers_hold_every_place() -> None:
    host = Host(max_connections=16)
    for number in range(12):
        assert host.connect(f"stranger {number}", f"v4:8.8.{number}.1")
    host.worth = {"friend": 0.1}
    assert host.connect("friend", CROWD)
    assert "stranger 11" not in host.open


def test_a_network_full_of_proven_peers_still_has_places_for_newcomers() -> None:
    host = Host(max_connections=64)
    host.worth = {f"friend {number}": 1.0 + number for number in range(60)}
    for number in range(60):
        host.connect(f"friend {number}", f"v4:8.8.{number}.1")
        host.now += 1.0
    host.now += GRACE_S
    assert host.connect("newcomer", HONEST)
    assert sum(name in host.worth for name in host.open) == 47


def test_between_equals_a_newcomer_waits_for_the_grace_of_those_who_are_in() -> None:
    host = Host()
    for number in range(8):
        assert host.connect(f"first {number}", CROWD)
    assert not host.connect("ninth", CROWD)
    host.now += GRACE_S
    assert host.connect("ninth", CROWD)
    assert not host.connect("tenth", CROWD) or "ninth" in host.open


def test_what_this_host_dials_keeps_a_quarter_of_the_connections() -> None:
    host = Host(max_connections=64)
    for number in range(100):
        host.connect(f"guest {number}", f"v4:{11 + number}.8.8.8")
    assert len(host.open) == 48
    busy = Host(max_connections=64, outbound=40)
    for number in range(100):
        busy.connect(f"guest {number}", f"v4:{11 + number}.8.8.8")
    assert len(busy.open) == 24


def test_one_identity_has_two_connections_and_the_newest_of_many_is_refused() -> None:
    host = Host()
    assert host.connect("old", HONEST, peer="anna")
    assert host.connect("new", CROWD, peer="anna")
    assert not host.connect("third", "v4:8.8.8.8", peer="anna")
    host.now += GRACE_S
    assert host.connect("after a while", "v4:8.8.8.8", peer="anna")
    assert len(host.open) == 2


def test_new_connections_of_an_address_are_counted_by_the_second_whoever_they_are() -> None:
    host = Host()
    accepted = 0
    for _ in range(1_000):
        ticket = host.places.knock(CROWD, lambda: None, host.now)
        if ticket is not None:
            accepted += 1
            host.places.leave(ticket)
        host.now += 0.01
    assert accepted <= KNOCKS_BURST + 5.0 * 10 + 1
    assert host.knock("honest", HONEST) is not None


def test_many_addresses_that_never_stop_knocking_do_not_use_up_the_knocks_of_a_calm_one() -> None:
    host = Host()
    refused = 0
    for turn in range(3_000):
        ticket = host.places.knock(f"v4:127.0.1.{turn % 100}", lambda: None, host.now)
        if ticket is not None:
            host.places.leave(ticket)
        if turn % 200 == 199 and turn > 1_000:  # their bursts are spent by then
            refused += host.connect(f"honest {turn}", HONEST, peer="anna") is False
            for name in list(host.open):
                host.places.leave(host.open.pop(name))
        host.now += 0.01 if turn % 10 == 0 else 0.0
    assert refused == 0


def test_half_open_connections_are_bounded_by_address_and_an_honest_one_still_fits() -> None:
    host = Host()
    for number in range(20):
        host.knock(f"silent {number}", CROWD)
    assert host.places.half_open == HALF_OPEN_PER_GROUP
    for number in range(100):
        host.knock(f"quiet {number}", f"v4:93.184.{number % 12}.1")
    assert host.places.half_open == HALF_OPEN
    assert host.connect("honest", HONEST)
    assert host.places.half_open == HALF_OPEN - 1


def test_a_handshake_that_takes_long_is_displaced_by_its_own_address_after_a_while() -> None:
    host = Host()
    for number in range(HALF_OPEN_PER_GROUP):
        assert host.knock(f"silent {number}", CROWD)
    assert host.knock("honest", CROWD) is None
    host.now += PATIENCE_S
    assert host.knock("honest", CROWD) is not None
    assert "silent 0" not in host.open
    assert host.places.half_open == HALF_OPEN_PER_GROUP


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["knock", "seat", "leave", "wait"]),
            st.integers(0, 30),
            st.sampled_from([LOCAL, HONEST, CROWD, "", "v6:2001:db8:1:2", "v4:8.8.4.5", "v4:10.0.0.1"]),
        ),
        max_size=150,
    ),
    proven=st.sets(st.integers(0, 30), max_size=20),
    most=st.integers(1, 12),
)
def test_whatever_happens_the_bounds_hold(
    steps: list[tuple[str, int, str]], proven: set[int], most: int
) -> None:
    host = Host(max_connections=most)
    host.worth = {f"peer {number}": 1.0 for number in proven}
    for number, (step, who, group) in enumerate(steps):
        tickets = list(host.open.items())
        match step:
            case "knock":
                host.knock(f"connection {number}", group)
            case "seat" if tickets:
                name, ticket = tickets[who % len(tickets)]
                if ticket.peer is None and not host.places.seat(ticket, f"peer {who}", host.now):
                    host.open.pop(name)
            case "leave" if tickets:
                name, ticket = tickets[who % len(tickets)]
                host.places.leave(ticket)
                host.open.pop(name)
            case _:
                host.now += who
        seated = [ticket for ticket in host.open.values() if ticket.peer is not None]
        assert host.places.seated == len(seated) <= host.places.room
        assert host.places.half_open == len(host.open) - len(seated) <= HALF_OPEN
        assert max(Counter(one.peer for one in seated).values(), default=0) <= 2
