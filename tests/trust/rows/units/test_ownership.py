"""Assignment of units to peers: by capacity, without messages, and with few changes when a peer leaves."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trust.rows.units.ownership import MAX_CAPACITY, owned, owners

UNITS = tuple(f"layer-{layer}/head-{head}" for layer in range(6) for head in range(4))


def draw(peer: str, unit: str, epoch: int) -> float:
    """As all versions of the program must have it, or their peers would disagree."""
    parts = [part.encode() for part in (peer, unit, str(epoch))]
    digest = hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).digest()
    bits = struct.unpack("<Q", digest[:8])[0] >> 12
    return -1 / math.log((bits + 0.5) / 2**52)


crowds = st.dictionaries(st.text(max_size=3), st.floats(0.01, 100), min_size=1, max_size=6)
epochs = st.integers(0, 2**40)


@settings(max_examples=50)
@given(crowds, epochs, st.integers(1, 4))
def test_every_unit_has_as_many_owners_as_there_are_copies(
    peers: dict[str, float], epoch: int, copies: int
) -> None:
    for who in owners(peers, UNITS, epoch=epoch, copies=copies):
        assert len(who) == len(set(who)) == min(copies, len(peers))


@settings(max_examples=50)
@given(crowds, epochs, st.integers(1, 3))
def test_a_peer_trains_what_it_owns_and_never_nothing(
    peers: dict[str, float], epoch: int, copies: int
) -> None:
    drawn = owners(peers, UNITS, epoch=epoch, copies=copies)
    for peer in peers:
        mine = {index for index, who in enumerate(drawn) if peer in who}
        held = owned(peer, peers, UNITS, epoch=epoch, copies=copies)
        assert held == mine if mine else len(held) == 1


@settings(max_examples=50)
@given(crowds.filter(lambda peers: len(peers) > 1), epochs, st.integers(1, 3))
def test_a_peer_that_leaves_hands_over_its_own_units_and_no_others(
    peers: dict[str, float], epoch: int, copies: int
) -> None:
    leaver, *rest = peers
    before = owners(peers, UNITS, epoch=epoch, copies=copies)
    after = owners({peer: peers[peer] for peer in rest}, UNITS, epoch=epoch, copies=copies)
    for had, has in zip(before, after, strict=True):
        stayed = tuple(peer for peer in had if peer != leaver)
        assert has[: len(stayed)] == stayed
        if leaver not in had:
            assert has == had


def test_shares_of_units_are_in_proportion_to_capacities() -> None:
    units = [str(unit) for unit in range(10_000)]
    peers = {"phone": 1.0, "laptop": 3.0, "desktop": 6.0}
    held = Counter(who for (who,) in owners(peers, units, epoch=7, copies=1))
    for peer, capacity in peers.items():
        # Four standard deviations of a binomial, for a hash that was drawn once and for all.
        part = capacity / 10
        assert held[peer] == pytest.approx(10_000 * part, abs=4 * math.sqrt(10_000 * part * (1 - part)))


def test_a_new_epoch_has_new_owners() -> None:
    peers = {"a": 1.0, "b": 1.0}
    drawn = [owners(peers, UNITS, epoch=epoch, copies=1) for epoch in range(40)]
    assert owners(peers, UNITS, epoch=3, copies=1) == drawn[3]
    for unit in range(len(UNITS)):
        assert {who[unit] for who in drawn} == {("a",), ("b",)}


def test_the_unit_of_capacities_and_the_order_of_peers_do_not_matter() -> None:
    one = owners({"a": 1.0, "b": 2.0, "c": 4.0}, UNITS, epoch=1, copies=2)
    assert owners({"c": 1.0, "b": 0.5, "a": 0.25}, UNITS, epoch=1, copies=2) == one


def test_a_unit_goes_to_the_largest_draw() -> None:
    peers = {"a": 1.0, "b": 2.5, "c": 0.5}
    for unit, who in zip(UNITS, owners(peers, UNITS, epoch=9, copies=3), strict=True):
        assert list(who) == sorted(peers, key=lambda peer: -peers[peer] * draw(peer, unit, 9))


def test_a_peer_that_owns_nothing_takes_the_unit_of_its_largest_draw() -> None:
    peers = {"desktop": MAX_CAPACITY, "phone": 0.001}
    assert {who for (who,) in owners(peers, UNITS, epoch=0, copies=1)} == {"desktop"}
    (unit,) = owned("phone", peers, UNITS, epoch=0, copies=1)
    assert UNITS[unit] == max(UNITS, key=lambda name: draw("phone", name, 0))


def test_a_peer_without_capacity_owns_nothing() -> None:
    peers = {"a": 1.0, "watcher": 0.0}
    assert owned("watcher", peers, UNITS, epoch=0, copies=2) == frozenset()
    assert owned("a", peers, UNITS, epoch=0, copies=2) == frozenset(range(len(UNITS)))
    assert owners({"watcher": 0.0}, UNITS[:1], epoch=0, copies=1) == ((),)


def test_names_with_one_concatenation_have_different_draws() -> None:
    peers = {"a": 1.0, "b": 1.0}
    one = owners(peers, [f"{unit}-1" for unit in range(40)], epoch=2, copies=1)
    assert one != owners(peers, [f"{unit}-" for unit in range(40)], epoch=12, copies=1)


def test_no_units_have_no_owners() -> None:
    assert owned("a", {"a": 1.0}, (), epoch=0, copies=1) == frozenset()


@pytest.mark.parametrize(
    ("peers", "units", "copies", "says"),
    [
        ({"b": 1.0}, ("u",), 1, "me must be"),
        ({"a": 1.0}, ("u",), 0, "copies must be"),
        ({"a": 1.0}, ("u", "u"), 1, "different names"),
        ({"a": -1.0}, ("u",), 1, "capacity must be"),
        ({"a": math.nan}, ("u",), 1, "capacity must be"),
        ({"a": 1e13}, ("u",), 1, "capacity must be"),
    ],
)
def test_a_wrong_argument_is_named(
    peers: dict[str, float], units: tuple[str, ...], copies: int, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        owned("a", peers, units, epoch=0, copies=copies)
