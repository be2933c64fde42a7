"""What is trained next: a function of this peer, the round and what was known, and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, LearnerConfig
from gossipllm.config.choices import ContextOperator, ContextSource, Sampling
from gossipllm.work import Open, Opened
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.round import planning
from peers.core.round.planning import Planner, PlanningInputs
from peers.core.saved import WHOLE, Plan
from peers.core.terms import Terms
from sim.toy.learner import ToyLearner
from sim.toy.units import context_key
from support.core_bench import RemotePeer
from trust.rows.units.importance import Softmax
from trust.rows.units.ownership import owned
from wire.codec import decode_announcement
from wire.importance import encode_importance

UNKNOWN = (None,) * 4
NEVER = (0,) * 4
CLAIMS = st.lists(st.one_of(st.none(), st.floats(0, width=32, allow_infinity=False)), min_size=4, max_size=4)
"""All that an announcement may say of four layers."""


class LearnerParts(TypedDict, total=False):
    """Tables of a learner's configuration that decide what is planned."""

    layers: LayersConfig
    adapter: AdapterConfig
    heads: HeadsConfig


class HeadsOptions(TypedDict, total=False):
    """Settings of the dealing of heads that a test may change."""

    copies: int
    epoch_rounds: int


class LayersOptions(TypedDict, total=False):
    """Settings of a window of blocks that a test may change."""

    count: int
    sampling: Sampling
    softmax: Softmax
    temperature: float
    floor: float
    smoothing: float
    probe_every: int
    context: ContextOperator
    contexts: ContextSource


def planner(me: str = "me", **config: Unpack[LearnerParts]) -> Planner:
    learner = LearnerConfig(**config)
    opened = ToyLearner((0.0,) * 4, form="split").answer(Open(request=1, config=learner, snapshot=None))
    assert isinstance(opened, Opened)
    return Planner(me, Terms.of("gossipllm", opened), learner)


def by_window(
    me: str = "me", adapter: AdapterConfig | None = None, **layers: Unpack[LayersOptions]
) -> Planner:
    return planner(me, layers=replace(LayersConfig(count=1), **layers), adapter=adapter or AdapterConfig())


def by_heads(me: str = "me", **heads: Unpack[HeadsOptions]) -> Planner:
    return planner(me, adapter=AdapterConfig(train="heads"), heads=replace(HeadsConfig(copies=1), **heads))


def heard(name: str, round_: int = 0, *, importance: bytes = b"") -> ReceivedAnnouncement:
    someone = RemotePeer(name)
    frame = someone.announce(round_, importance=importance)
    return ReceivedAnnouncement(name, decode_announcement(frame).announcement, frame, someone.id, {})


# -- everything -------------------------------------------------------------------------------------


def test_ordinarily_everything_is_trained() -> None:
    assert planner().settled(WHOLE, 7, {}) == WHOLE
    assert not planner().probes(0)
    assert planner().measured_importance((), (), ()) == ((), ())


def test_a_plan_of_other_settings_is_made_anew() -> None:
    window = by_window().settled(WHOLE, 3, {})
    assert window != WHOLE
    assert by_window().settled(window, 4, {}) == window, "what was planned stays"
    assert planner().settled(window, 4, {}) == WHOLE
    assert by_window(count=2).settled(window, 4, {}).units != window.units
    assert by_heads().settled(window, 4, {}) == WHOLE
    assert by_heads().settled(Plan(b"\xff\xff"), 4, {}) == WHOLE


# -- windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["importance", "uniform", "round-robin"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_window_holds_neighbouring_blocks_and_is_the_same_when_drawn_again(
    sampling: Sampling, count: int
) -> None:
    first, again = (by_window(sampling=sampling, count=count) for _ in range(2))
    for round_ in range(30):
        plan = first.block_window(round_, UNKNOWN, NEVER, PlanningInputs())
        assert plan == again.block_window(round_, UNKNOWN, NEVER, PlanningInputs())
        assert int.from_bytes(plan.units, "little") == (2**count - 1) << plan.first_block


def test_a_window_of_all_blocks_is_everything() -> None:
    assert by_window(count=4).block_window(0, UNKNOWN, NEVER, PlanningInputs()) == Plan(b"", 0)


@pytest.mark.parametrize("sampling", ["importance", "uniform", "round-robin"])
def test_no_block_is_forgotten_and_neighbours_do_not_march_in_step(sampling: Sampling) -> None:
    peers = [by_window(f"p{n}", sampling=sampling) for n in range(12)]
    drawn = [
        [one.block_window(round_, UNKNOWN, NEVER, PlanningInputs()).first_block for round_ in range(40)]
        for one in peers
    ]
    assert all(set(windows) == {0, 1, 2, 3} for windows in drawn)
    assert len({windows[0] for windows in drawn}) > 1


def test_what_matters_more_is_trained_more() -> None:
    known = (0.0, 0.0, 0.0, 1.0)
    one = by_window(temperature=0.5, floor=0.1)
    drawn = Counter(
        one.block_window(round_, known, (1000,) * 4, PlanningInputs()).first_block for round_ in range(400)
    )
    assert drawn[3] > 250
    assert all(drawn[block] > 0 for block in range(3))


@pytest.mark.parametrize(("softmax", "best"), [("standardised", 4 / math.sqrt(3)), ("plain", 4.0)])
def test_the_softmax_of_the_settings_decides_how_much_more(softmax: Softmax, best: float) -> None:
    # In units of their mean the importances are 0, 0, 0 and 4, with a standard deviation of sqrt(3).
    one = by_window(softmax=softmax, floor=0.1)
    known = (0.0, 0.0, 0.0, 1.0)
    rounds = 2000
    drawn = Counter(
        one.block_window(round_, known, (10**9,) * 4, PlanningInputs()).first_block
        for round_ in range(rounds)
    )
    expected = 0.9 * math.exp(best) / (math.exp(best) + 3) + 0.1 / 4
    # Four standard errors of a share of 2,000 draws.
    assert drawn[3] / rounds == pytest.approx(expected, abs=0.04)


def test_neighbours_measurements_count_as_their_weights_do() -> None:
    one = by_window(temperature=0.2, floor=0.01)
    entries = [heard("alice", importance=encode_importance((0.0, 0.0, 1e30, 0.0)))]
    around = PlanningInputs(entries=entries, weights={"alice": 0.5})
    nobody = PlanningInputs(entries=entries, weights={"alice": 0.0})
    with_her = Counter(one.block_window(r, UNKNOWN, (1000,) * 4, around).first_block for r in range(200))
    without = Counter(one.block_window(r, UNKNOWN, (1000,) * 4, nobody).first_block for r in range(200))
    assert with_her[2] > 150 > 80 > without[2]


def test_only_windows_in_which_the_adapter_has_something_are_trained() -> None:
    one = by_window(adapter=AdapterConfig(modules=("w0", "w2")))
    drawn = {one.block_window(round_, UNKNOWN, NEVER, PlanningInputs()) for round_ in range(40)}
    assert drawn == {Plan(b"\x01", 0), Plan(b"\x04", 2)}


def test_windows_whose_context_is_to_be_had_are_preferred() -> None:
    one = by_window(context="distil", contexts="fetch")
    near = frozenset((context_key(1), context_key(3), bytes(32)))
    drawn = {
        one.block_window(round_, UNKNOWN, NEVER, PlanningInputs(contexts=near)).first_block
        for round_ in range(40)
    }
    assert drawn == {1, 3}
    far = {one.block_window(round_, UNKNOWN, NEVER, PlanningInputs()).first_block for round_ in range(40)}
    assert far == {0, 1, 2, 3}
    assert one.context_key(Plan(b"\x02", 1)) == context_key(1)
    assert by_window(context="distil").context_key(Plan(b"\x02", 1)) is None, "who makes them fetches none"


def test_where_a_context_came_too_late_one_that_is_here_is_used() -> None:
    one = by_window(context="distil", contexts="fetch")
    planned = Plan(b"\x02", 1)
    assert one.settled(planned, 5, {context_key(1)}) == planned
    assert one.settled(planned, 5, {context_key(3)}) == Plan(b"\x08", 3)
    assert one.settled(planned, 5, {}) == planned, "nobody waits"


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=4, max_size=4), st.integers(0, 10**6))
def test_no_measurement_whatever_stops_the_planning(values: list[float | None], round_: int) -> None:
    """Steps that have lost their way measure infinities and worse."""
    one = by_window()
    importance, measured = UNKNOWN, NEVER
    for _ in range(3):
        importance, measured = one.measured_importance(importance, measured, values)
        encode_importance(importance)
        assert 0 <= one.block_window(round_, importance, measured, PlanningInputs()).first_block < 4
    for value, known in zip(values, importance, strict=True):
        assert known is None or (value is not None and math.isfinite(known))


@given(st.lists(CLAIMS, max_size=4))
def test_no_claim_of_neighbours_stops_the_planning(vectors: list[list[float | None]]) -> None:
    class Someone:
        def __init__(self, name: str, importance: bytes) -> None:
            self.author, self.announcement = name, self
            self.importance = importance

    entries: Any = [Someone(str(n), encode_importance(vector)) for n, vector in enumerate(vectors)]
    around = PlanningInputs(entries=entries, weights={one.author: 1 / len(vectors) for one in entries})
    assert 0 <= by_window().block_window(3, UNKNOWN, NEVER, around).first_block < 4


def test_measurements_run_on_and_are_counted() -> None:
    one = by_window(smoothing=0.5)
    first = one.measured_importance((), (), (4.0, None, None, None))
    assert first == ((4.0, None, None, None), (1, 0, 0, 0))
    assert one.measured_importance(*first, (0.0, 1.0, None, None)) == ((2.0, 1.0, None, None), (2, 1, 0, 0))


def test_probes_come_every_so_many_rounds() -> None:
    one = by_window(probe_every=3)
    assert [round_ for round_ in range(8) if one.probes(round_)] == [0, 3, 6]


# -- heads ------------------------------------------------------------------------------------------


def units(plan: Plan) -> set[int]:
    held = int.from_bytes(plan.units, "little") if plan.units else 15
    return {n for n in range(4) if held >> n & 1}


def dealt(names: str, *, epoch_round: int, **heads: Unpack[HeadsOptions]) -> list[set[int]]:
    """What each trains, as each sees the others at this round."""
    result: list[set[int]] = []
    for me in names:
        around = PlanningInputs(entries=[heard(other, epoch_round) for other in names if other != me])
        result.append(units(by_heads(me, **heads).heads(epoch_round, around)))
    return result


@pytest.mark.parametrize("copies", [1, 2])
def test_every_head_is_trained_by_as_many_as_are_to(copies: int) -> None:
    for round_ in range(10):
        parts = dealt("abc", epoch_round=round_, copies=copies)
        owners = Counter(unit for part in parts for unit in part)
        assert set(owners) == {0, 1, 2, 3}
        # Who owns none takes one beside its owners.
        assert sum(owners.values()) <= 4 * copies + sum(len(part) == 1 for part in parts)


def test_heads_change_hands_with_the_epoch_and_not_within() -> None:
    parts = [tuple(map(frozenset, dealt("ab", epoch_round=r, epoch_rounds=5))) for r in range(40)]
    assert all(len(set(parts[r : r + 5])) == 1 for r in range(0, 40, 5))
    assert len(set(parts)) > 1


def test_peers_of_different_pace_mean_the_same_epoch() -> None:
    """The fast one is at round 90, the slow ones at 30: the middle is everybody's, and a liar does not move it."""
    rounds = {"a": 90, "b": 30, "c": 30, "liar": 2**31 - 1, "late": 0}
    parts: list[set[int]] = []
    for me, own in rounds.items():
        entries = [heard(name, round_) for name, round_ in rounds.items() if name != me]
        parts.append(units(by_heads(me).heads(own, PlanningInputs(entries=entries))))
    even = [30] * 5
    same: list[set[int]] = []
    for me, own in zip(rounds, even, strict=True):
        entries = [heard(name, 30) for name in rounds if name != me]
        same.append(units(by_heads(me).heads(own, PlanningInputs(entries=entries))))
    assert parts == same


def test_in_a_crowd_heads_are_dealt_among_few_and_all_agree_who_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "MOST_DEALT", 3)
    seen: list[set[str]] = []

    def dealing(me: str, peers: dict[str, float], *args: Any, **kwargs: Any) -> frozenset[int]:
        seen.append(set(peers))
        return owned(me, peers, *args, **kwargs)

    monkeypatch.setattr(planning, "owned", dealing)
    names = [f"p{n}" for n in range(10)]
    by_epoch: set[frozenset[str]] = set()
    for round_ in range(8):
        seen.clear()
        for me in names:
            entries: Any = [Claim(name, round_) for name in names if name != me]
            assert units(by_heads(me).heads(round_, PlanningInputs(entries=entries)))
        common = set[str].intersection(*seen)
        assert len(common) == 3
        assert seen == [common | {me} for me in names], "everybody else counts itself besides"
        by_epoch.add(frozenset(common))
    assert len(by_epoch) > 1, "others in the next epoch"


class Claim:
    """As much of an announcement as dealing reads."""

    def __init__(self, author: str, round_: int) -> None:
        self.author, self.announcement = author, self
        self.round, self.capacity = round_, 100


def test_who_is_alone_trains_all_heads() -> None:
    assert units(by_heads().heads(0, PlanningInputs())) == {0, 1, 2, 3}
    assert by_heads(copies=0).settled(WHOLE, 0, {}) == WHOLE
    assert not by_heads(copies=0).by_heads
