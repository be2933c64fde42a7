"""Push-sum among liars: whatever arrives, an estimate stays finite and near to what its peer brought itself."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.learning.merging.push.mass import FAR, MOST, UNIT, Mass, decode_totals
from sim.toy.mass import ToyMass
from wire.errors import WireError

OWN = np.array([0.3, -0.2, 0.1])
LENGTH = 4.0 * 3**0.5
"""At least this long does an own mean of three numbers count."""

any_number = (
    st.integers(0, 2**64 - 1)
    | st.integers(-(2**44), 2**44)
    | st.floats(width=64).map(lambda x: int.from_bytes(struct.pack("<d", x), "little"))
    | st.sampled_from([0, 1, 2**20, 2**40, 2**62, 2**63, 2**64 - 1])
)
shares = st.tuples(st.sampled_from("abc"), st.lists(any_number, min_size=4, max_size=4), st.booleans())


def share_of(mean: list[float], weight: float) -> list[int]:
    return [round(weight * value / UNIT) for value in (*mean, 1.0)]


def packed(numbers: list[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *(number % 2**64 for number in numbers))


def took(mass: Mass, sender: str, numbers: list[int], round_: int) -> bool:
    return mass.receive(sender, decode_totals(packed(numbers), 3), round=round_)


@settings(max_examples=100, deadline=None)
@given(st.lists(shares, max_size=30))
def test_an_estimate_survives_any_shares(sent: list[tuple[str, list[int], bool]]) -> None:
    mass, toy = Mass.begin(OWN, 1.0), ToyMass.begin(list(OWN), 1.0)
    for number, (sender, numbers, pushes) in enumerate(sent):
        before = mass.state_M.copy(), dict(mass.received)
        try:
            taken = took(mass, sender, numbers, number)
        except WireError:
            taken = False
        if not taken:
            np.testing.assert_array_equal(mass.state_M, before[0])
            assert mass.received.keys() == before[1].keys()
        toy.receive(sender, number, packed(numbers))
        if pushes:
            mass.push(["x", "y"])
            toy.push(["x", "y"])
        for estimate in (mass.estimate(), np.array(toy.estimate())):
            assert np.isfinite(estimate).all()
            assert np.linalg.norm(estimate) <= FAR * LENGTH * (1 + 1e-6)


def test_one_lying_share_neither_explodes_nor_freezes_a_mass() -> None:
    mass = Mass.begin(OWN, 1.0)
    assert not took(mass, "liar", share_of([1e3, -1e3, 1e3], 8.0), 0)
    np.testing.assert_allclose(mass.estimate(), OWN, atol=1e-9)
    assert took(mass, "honest", share_of([0.5, 0.0, 0.1], 0.5), 0)
    assert took(mass, "liar", share_of([0.3, -0.2, 0.2], 0.5), 1), "it may come to its senses"


def test_a_heavy_share_is_taken_a_bounded_part_at_a_time_and_whole_in_the_end() -> None:
    mass = Mass.begin(OWN, 1.0)
    heavy = share_of([0.5, 0.5, 0.5], 100.0)
    assert took(mass, "a", heavy, 0)
    assert mass.state_M[-1] == round((1 + MOST) / UNIT)
    assert took(mass, "a", heavy, 1)
    np.testing.assert_array_equal(mass.received["a"], np.array(heavy, np.uint64))
    assert mass.state_M[-1] == round(101 / UNIT)


def test_counts_that_no_peer_like_this_one_has_are_not_taken() -> None:
    mass = Mass.begin(np.array([0.3, -0.2, 0.1]), 1.0)

    def taken(count: float) -> bool:
        totals = decode_totals(packed(share_of([0.3, -0.2, count], 0.5)), 3)
        return Mass.from_arrays(mass.arrays()).receive("a", totals, round=0, counts=1)

    assert [taken(count) for count in (0.1, 6.0, 6.8, 0.002, 0.001, 0.0, -0.1, 1e3)] == [
        *(True, True, False, True, False, False, False, False)
    ]


def test_what_a_peer_brought_survives_a_restart() -> None:
    mass = Mass.begin(OWN, 1.0)
    took(mass, "a", share_of([10.0, 10.0, 10.0], 60.0), 0)
    again = Mass.from_arrays(mass.arrays())
    far = share_of([100.0, 100.0, 100.0], 60.0)
    assert not took(again, "b", far, 0), (
        "it is measured by what it brought, not by what it was made to believe"
    )
    np.testing.assert_array_equal(again.estimate(), mass.estimate())
