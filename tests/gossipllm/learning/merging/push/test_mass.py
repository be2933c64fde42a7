"""Push-sum: no schedule loses mass, and every peer ends with the network's weighted mean."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.learning.merging.push.mass import (
    LEAST_WEIGHT,
    MAX_MASS,
    MOST_EDGES,
    U64,
    UNIT,
    Mass,
    decode_totals,
    encode_totals,
)
from wire.errors import WireError

PEERS = ("a", "b", "c", "d")
SOME = settings(max_examples=60, deadline=None)

values = st.floats(-50, 50)
weights = st.just(0.0) | st.floats(LEAST_WEIGHT, 100)
starts = st.lists(st.tuples(values, values, weights), min_size=len(PEERS), max_size=len(PEERS))


class Network:
    """Masses, and the messages between them that chance may lose, repeat, delay and reorder."""

    def __init__(self, *begun: tuple[float, float, float]) -> None:
        self.masses = {
            name: Mass.begin(np.array(theta), weight)
            for name, (*theta, weight) in zip(PEERS, begun, strict=False)
        }
        self.round = 0
        self.messages: list[tuple[str, str, int, bytes]] = []

    def push(self, sender: str, receivers: list[str]) -> None:
        self.round += 1
        for receiver, totals in self.masses[sender].push(receivers).items():
            self.messages.append((sender, receiver, self.round, encode_totals(totals)))

    def deliver(self, index: int) -> None:
        sender, receiver, number, data = self.messages[index]
        self.masses[receiver].receive(sender, decode_totals(data, 2), round=number)

    @property
    def total(self) -> list[int]:
        """All that is held and in flight, modulo 2^64."""
        held = np.zeros(3, dtype=np.uint64)
        for name, mass in self.masses.items():
            held += mass.state_M.view(np.uint64)
            for receiver, totals in mass.sent.items():
                held += totals
                held -= self.masses[receiver].received.get(name, np.zeros(3, dtype=np.uint64))
        return held.tolist()


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[object, ...]]:
    """Pushes along any edges, deliveries of any message so far, steps: so many that edges are used again and again."""
    push = st.tuples(st.sampled_from(PEERS), st.sets(st.sampled_from(PEERS), min_size=2))
    deliver = st.tuples(st.integers(0, 10**6))
    step = st.tuples(st.sampled_from(PEERS), values, st.floats(0, 10))
    return draw(st.lists(push | deliver | deliver | step, min_size=30, max_size=60))


@SOME
@given(starts, schedules())
def test_no_schedule_of_loss_repetition_and_delay_loses_a_unit_of_mass(
    begun: list[tuple[float, float, float]], schedule: list[tuple[object, ...]]
) -> None:
    network = Network(*begun)
    total = network.total
    for event in schedule:
        match event:
            case (str(sender), set()):
                receivers = cast("set[str]", event[1])
                network.push(sender, sorted(receivers - {sender}))
            case (str(peer), float(delta), float(weight)):
                network.masses[peer].add(np.array([delta, -delta]), weight)
                step = round(delta * weight / UNIT)
                total = [(total[0] + step) % 2**64, (total[1] - step) % 2**64, total[2]]
            case (int(index),) if network.messages:
                network.deliver(index % len(network.messages))
            case _:
                pass
        assert network.total == total
        assert all(mass.state_M[-1] >= 0 for mass in network.masses.values())


@SOME
@given(starts.filter(lambda begun: any(weight for *_, weight in begun)), st.integers(0, 2**32))
def test_every_peer_ends_with_the_weighted_mean_along_edges_that_are_not_mutual(
    begun: list[tuple[float, float, float]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    network = Network(*begun)
    for _ in range(250):
        for k, name in enumerate(PEERS):
            # A ring, one way, and one more edge that changes from round to round.
            also = PEERS[rng.integers(len(PEERS))]
            network.push(name, sorted({PEERS[(k + 1) % len(PEERS)], also} - {name}))
        for index in range(len(network.messages)):
            if rng.random() < 0.6:
                network.deliver(index)
        # The rest is lost for good.
        network.messages.clear()
    whole = sum(weight for *_, weight in begun)
    mean = [sum(one[k] * one[2] for one in begun) / whole for k in (0, 1)]
    # Rounding at weights of a thousandth: some units of 2^-40 in 2^-10.
    for mass in network.masses.values():
        np.testing.assert_allclose(mass.estimate(), mean, atol=1e-6)


def pair() -> Network:
    return Network((1.0, 0.0, 1.0), (4.0, 8.0, 3.0))


def test_one_exchange_by_hand() -> None:
    network = pair()
    network.push("a", ["b"])
    network.deliver(0)
    # a keeps (0.5, 0, 0.5); b has (12, 24, 3) and (0.5, 0, 0.5).
    np.testing.assert_array_equal(network.masses["a"].estimate(), [1.0, 0.0])
    np.testing.assert_allclose(network.masses["b"].estimate(), [12.5 / 3.5, 24 / 3.5], rtol=1e-12)


def test_the_next_message_brings_what_a_lost_one_did_not() -> None:
    network = pair()
    network.push("a", ["b"])
    network.push("a", ["b"])
    network.deliver(1)
    np.testing.assert_array_equal(network.masses["b"].state_M * UNIT, [12.75, 24.0, 3.75])


def test_repeated_and_overtaken_messages_bring_nothing() -> None:
    network = pair()
    network.push("a", ["b"])
    network.push("a", ["b"])
    network.deliver(1)
    held = network.masses["b"].state_M
    first, second = (decode_totals(data, 2) for *_, data in network.messages)
    assert not network.masses["b"].receive("a", second, round=2)
    assert not network.masses["b"].receive("a", first, round=1)
    np.testing.assert_array_equal(network.masses["b"].state_M, held)


def test_what_a_division_leaves_over_stays_at_home() -> None:
    mass = Mass.begin(np.array([-7 * UNIT, 7 * UNIT]), 1.0)
    totals = mass.push(["b", "c", "d"])
    for name in ("b", "c", "d"):
        np.testing.assert_array_equal(totals[name].view(np.int64)[:2], [-2, 1])
    np.testing.assert_array_equal(mass.state_M[:2], [-1, 4])


def test_a_peer_that_hears_nothing_stops_giving_before_it_has_nothing() -> None:
    mass = Mass.begin(np.array([0.1, -3.0]), 1.0)
    totals = mass.push(["b", "c"])
    for _ in range(99):
        totals = mass.push(["b", "c"])
    assert mass.state_M[-1] * UNIT >= 2.0**-20
    np.testing.assert_array_equal(mass.push(["b", "c"])["b"], totals["b"])
    np.testing.assert_allclose(mass.estimate(), [0.1, -3.0], atol=1e-4)


def test_totals_may_wrap_around() -> None:
    network = pair()
    near = np.full(3, 2**64 - 5, dtype=np.uint64)
    for name, key in (("a", "sent/b"), ("b", "received/a")):
        network.masses[name] = Mass.from_arrays({**network.masses[name].arrays(), key: near})
    total = network.total
    network.push("a", ["b"])
    network.deliver(0)
    assert int(network.masses["a"].sent["b"][0]) < 2**40
    np.testing.assert_array_equal(network.masses["b"].state_M * UNIT, [12.5, 24.0, 3.5])
    assert network.total == total


def test_a_peer_without_weight_learns_the_mean_and_does_not_move_it() -> None:
    network = Network((1.0, 2.0, 5.0), (9.0, 9.0, 0.0))
    listener = network.masses["b"]
    np.testing.assert_array_equal(listener.estimate(), [9.0, 9.0])
    network.push("b", ["a"])
    network.push("a", ["b"])
    network.deliver(0)
    network.deliver(1)
    np.testing.assert_allclose(listener.estimate(), [1.0, 2.0], rtol=1e-12)
    np.testing.assert_allclose(network.masses["a"].estimate(), [1.0, 2.0], rtol=1e-12)


def test_who_vanishes_leaves_a_mean_of_what_was_brought() -> None:
    network = Network((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (2.0, 2.0, 1.0))
    network.push("c", ["a"])
    network.deliver(0)
    network.push("a", ["c"])
    for _ in range(60):
        network.messages.clear()
        network.push("a", ["b"])
        network.push("b", ["a"])
        for index in range(2):
            network.deliver(index)
    # Left with a are (1, 1.5) / 2, with b (1, 1): numerators over denominators.
    for name in ("a", "b"):
        np.testing.assert_allclose(network.masses[name].estimate(), [1.5 / 1.75] * 2, rtol=1e-9)


def test_local_steps_move_the_mean_by_their_weighted_parts() -> None:
    network = pair()
    network.masses["a"].add(np.array([4.0, 0.0]), 1.0)
    network.masses["b"].add(np.array([5.0, 8.0]) - network.masses["b"].estimate(), 3.0)
    for _ in range(80):
        network.messages.clear()
        network.push("a", ["b"])
        network.push("b", ["a"])
        for index in range(2):
            network.deliver(index)
    for mass in network.masses.values():
        np.testing.assert_allclose(mass.estimate(), [(5 + 3 * 5) / 4, 24 / 4], rtol=1e-9)


def test_a_peer_resumes_where_it_was() -> None:
    network = pair()
    network.push("a", ["b"])
    network.push("b", ["a"])
    network.deliver(0)
    saved = network.masses["b"].arrays()
    again = Mass.from_arrays(saved)
    assert again.arrays().keys() == saved.keys()
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, saved[name])
    sender, _, number, data = network.messages[0]
    assert not again.receive(sender, decode_totals(data, 2), round=number)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3), st.binary(max_size=40))
def test_totals_travel_and_bytes_of_another_length_are_refused(numbers: list[int], data: bytes) -> None:
    totals = np.array(numbers, dtype=np.uint64)
    np.testing.assert_array_equal(decode_totals(encode_totals(totals), 2), totals)
    if len(data) != 24:
        with pytest.raises(WireError, match=r"pushsum\.length"):
            decode_totals(data, 2)


def totals(*units: int) -> U64:
    return np.array(units, dtype=np.int64).view(np.uint64)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (totals(0, 0, -1), "the total fell"),
        (totals(2**62, 0, 1), "more mass"),
        (totals(-(2**62), 0, 1), "more mass"),
        (totals(0, 0, 2**62 - 1), "more mass"),
        (totals(0, 1), "2 numbers, here are 3"),
    ],
)
def test_what_no_honest_peer_sends_is_refused_and_changes_nothing(sent: U64, says: str) -> None:
    mass = Mass.begin(np.array([1.0, 2.0]), 1.0)
    before = mass.arrays()
    with pytest.raises(WireError, match=says):
        mass.receive("a", sent, round=1)
    assert mass.arrays().keys() == before.keys()
    np.testing.assert_array_equal(mass.state_M, before["state"])


@pytest.mark.parametrize(
    ("theta", "weight", "says"),
    [
        ([1.0], -1.0, "weight must be"),
        ([1.0], LEAST_WEIGHT / 2, "weight must be"),
        ([1.0], 2 * MAX_MASS, "weight must be"),
        ([1.0], np.nan, "weight must be"),
        ([np.inf], 1.0, "theta must be"),
        ([np.nan], 1.0, "theta must be"),
        ([[1.0]], 1.0, "theta must be"),
        ([-1.1 * MAX_MASS], 1.0, "weight times values"),
        ([1e300], 1e3, "weight times values"),
    ],
)
def test_what_cannot_be_counted_in_units_is_named(theta: list[float], weight: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Mass.begin(np.array(theta), weight)


def test_a_step_out_of_range_is_named() -> None:
    mass = Mass.begin(np.array([MAX_MASS, 0.0]), 1.0)
    with pytest.raises(ValueError, match="weight times values"):
        mass.add(np.array([0.0, np.inf]), 1.0)
    with pytest.raises(ValueError, match="delta must have shape"):
        mass.add(np.zeros(3), 1.0)
    for _ in range(510):
        mass.add(np.array([MAX_MASS, 0.0]), 1.0)
    with pytest.raises(ValueError, match="numerators must stay below"):
        mass.add(np.array([MAX_MASS, 0.0]), 1.0)
    with pytest.raises(ValueError, match="round must be"):
        mass.receive("a", totals(0, 0, 0), round=-1)


def test_no_more_edges_than_there_is_room_for_and_no_mass_is_lost() -> None:
    """A peer that meets ever more identities, some of which it pushes to and all of which push to it."""
    mass, met = Mass.begin(np.array([1.0, 2.0]), 1.0), 3 * MOST_EDGES
    share_M = Mass.begin(np.array([1.0, 0.0]), 1.0).push(["here"])["here"]
    taken = [mass.receive(f"sender {n}", share_M, round=0) for n in range(met)]
    assert taken == [n < MOST_EDGES for n in range(met)], (
        "what is not taken stays in flight, and is not refused"
    )
    held = mass.state_M.copy()

    pushed = [name for n in range(met) for name in mass.push([f"receiver {n}"])]

    assert pushed == [f"receiver {n}" for n in range(MOST_EDGES)]
    assert len(mass.arrays()) <= 2 + 3 * MOST_EDGES
    in_flight = sum(totals.view(np.int64) for totals in mass.sent.values())
    np.testing.assert_array_equal(mass.state_M + in_flight, held)
    assert mass.receive("sender 0", share_M + share_M, round=1), "those known are heard on"
    assert set(mass.push(["receiver 9", "a stranger"])) == {"receiver 9"}
    again = Mass.from_arrays(mass.arrays())
    assert not again.receive("a stranger", share_M, round=0)
