"""The driver with real cores on fake networks: what the core asks for is done, and what came of it is told."""

from __future__ import annotations

import gc
import re
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from gossipllm.work import Progress
from peers.core.config import CoreConfig, RoundConfig
from peers.core.core import Core
from peers.core.merge_inputs import MergeInputs
from peers.core.round.stages import Saving
from peers.net.host import NetworkTraffic
from peers.run.driver import Clock, Driver
from peers.run.performer import Ending
from sim.world.keys import ToyKeys
from support.networks import Hub, RecordingPeer, wait_until
from support.toy_learning import ToyLearning
from trust.record.history import Note, Record, Round
from wire.codec import MAGIC


class Memory:
    """A disk that remembers the order of things, and may be full."""

    def __init__(self) -> None:
        self.saved: list[Any] = []
        self.kept: list[Any] = []
        self.full = 0
        self.full_for_inputs = False

    def save(self, saved: Any) -> None:
        if self.full:
            self.full -= 1
            raise OSError(28, "the disk is full")
        self.saved.append(saved)

    def keep(self, inputs: Any) -> None:
        if self.full_for_inputs:
            raise OSError(28, "the disk is full")
        self.kept.append(inputs)


class Diary:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.progressed = 0

    def report(self, record: Record, traffic: NetworkTraffic) -> None:
        assert set(traffic.sent) == {"announce", "blob", "known"}
        self.records.append(record)

    def progress(self, progress: Progress) -> None:
        self.progressed += 1

    @property
    def rounds(self) -> list[Round]:
        return [one for one in self.records if isinstance(one, Round)]


@dataclass
class Actor:
    id: str
    memory: Memory
    diary: Diary
    network: Any
    driver: Driver


class Cast:
    """Drivers on one hub, by name."""

    def __init__(self, hub: Hub, nursery: trio.Nursery) -> None:
        self._hub, self._nursery = hub, nursery
        self.endings: dict[str, Ending] = {}

    def add(
        self,
        name: str,
        learning: ToyLearning,
        *,
        joined: frozenset[str] = frozenset(),
        network: str = "gossipllm",
        **rounds: Any,
    ) -> Any:
        keys = ToyKeys.of(name)
        defaults: dict[str, Any] = {"steps": 2, "rounds": 3, "patience_s": 0.5, "compare_every_s": 1.0}
        limits = RoundConfig(**{**defaults, **rounds})
        config = CoreConfig(name=name, network=network, joined=joined, round=limits, keep_neighbours=True)
        memory, diary = Memory(), Diary()
        core = Core(config, keys, None)
        driver = Driver(core, learning=learning, keeper=memory, watcher=diary)
        link = self._hub.join(driver, keys.peer_id)
        self._nursery.start_soon(self._run, name, driver, link)
        return Actor(keys.peer_id, memory, diary, link, driver)

    async def _run(self, name: str, driver: Driver, network: Any) -> None:
        self.endings[name] = await driver.run(network)


@pytest.fixture
async def cast(hub: Hub, nursery: Any) -> Any:
    return Cast(hub, nursery)


async def test_two_peers_train_exchange_and_merge(cast: Any) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]))
    two = cast.add("two", ToyLearning([1, 1, 1, 1]))

    await wait_until(lambda: len(one.diary.rounds) == len(two.diary.rounds) == 3)

    assert [seen.name for seen in one.diary.rounds[-1].seen] == ["two"]
    assert one.diary.progressed > 0
    assert one.network.traffic().received["blob"] > 0


async def test_a_peer_that_was_blocked_before_the_start_takes_no_part(cast: Any) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]))
    two = cast.add("two", ToyLearning([1, 1, 1, 1]))
    three = cast.add("three", ToyLearning([1, 1, 1, 1]))
    one.driver.block([two.id])

    await wait_until(lambda: len(one.diary.rounds) == len(three.diary.rounds) == 3)

    assert "two" not in {seen.name for record in one.diary.rounds for seen in record.seen}
    assert not one.driver.welcome(two.id)
    assert one.driver.welcome(three.id)


async def test_what_was_merged_last_is_kept(cast: Any) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]))
    cast.add("two", ToyLearning([1, 1, 1, 1]))

    await wait_until(lambda: len(one.diary.rounds) == 3 and [k.round for k in one.memory.kept][-1:] == [2])

    assert [member.name for member in one.memory.kept[-1].members] == ["two"]
    assert one.memory.kept[-1].self_weight == one.diary.rounds[-1].self_weight


async def test_what_was_kept_does_not_stay_in_memory(cast: Any) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]))
    cast.add("two", ToyLearning([1, 1, 1, 1]))
    rounds: list[int] = []

    def keep(inputs: MergeInputs) -> None:
        rounds.append(inputs.round)

    one.memory.keep = keep

    await wait_until(lambda: rounds[-1:] == [2])
    await wait_until(lambda: len(one.diary.rounds) == 3 and not _held(one.id))


def _held(peer: str) -> list[MergeInputs]:
    """Companies of this peer that somebody still refers to."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is MergeInputs and one.peer == peer]


async def test_a_full_disk_is_said_once_and_costs_no_round(cast: Any) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]))
    one.memory.full_for_inputs = True
    cast.add("two", ToyLearning([1, 1, 1, 1]))

    await wait_until(lambda: len(one.diary.rounds) == 3)

    notes = [record for record in one.diary.records if isinstance(record, Note) and "not kept" in record.text]
    (note,) = notes
    assert note.level == "warning"
    assert re.fullmatch(
        r"what was merged in round \d is not kept for looking at it: the disk is full", note.text
    ), note.text
    assert not one.memory.kept


async def test_a_state_is_saved_before_it_is_published(cast: Any) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]), rounds=1)
    one.memory.full = 1_000_000

    await wait_until(
        lambda: any(isinstance(r, Note) and "the disk is full" in r.text for r in one.diary.records)
    )

    assert one.network.traffic().sent["announce"] == 0
    assert not one.memory.saved


async def test_what_was_decided_just_before_the_end_is_saved_too(hub: Hub) -> None:
    keys, diary, memory = ToyKeys.of("one"), Diary(), Memory()
    core = Core(CoreConfig(name="one", round=RoundConfig(steps=1, patience_s=0.0)), keys, None)
    driver = Driver(core, learning=ToyLearning([1, 1, 1, 1]), keeper=memory, watcher=diary)
    gate = threading.Event()

    def hold(saved: Any) -> None:
        if saved.generation == 2:
            gate.wait(10)
        Memory.save(memory, saved)

    memory.save = hold  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.run, hub.join(driver, keys.peer_id))
        # Generation 2 is held on its way to the disk, and generation 3 waits behind it.
        await wait_until(lambda: isinstance(core.stage, Saving) and core.stage.generation == 3)
        nursery.cancel_scope.cancel()
        gate.set()

    assert [saved.generation for saved in memory.saved] == [1, 2, 3]


async def test_a_learner_that_dies_is_started_again_from_what_was_saved(cast: Any) -> None:
    learning = ToyLearning([1, 1, 1, 1], die_at=4)
    one = cast.add("one", learning)

    await wait_until(lambda: len(one.diary.rounds) == 3)

    assert learning.opened == 2
    assert any(isinstance(r, Note) and "starting it again" in r.text for r in one.diary.records)


async def test_joining_a_peer_of_another_base_goes_on_and_merges_nothing(cast: Any) -> None:
    other = cast.add("other", ToyLearning([1, 1, 1, 1], base="another"), rounds=0)
    newcomer = cast.add("newcomer", ToyLearning([1, 1, 1, 1]), joined=frozenset([other.id]), rounds=0)

    def said() -> list[str]:
        return [one.text for one in newcomer.diary.records if isinstance(one, Note)]

    await wait_until(lambda: any("holds another base" in text for text in said()))
    before = len(newcomer.diary.rounds)
    await wait_until(lambda: len(newcomer.diary.rounds) > before + 2)

    assert sum("holds another base" in text for text in said()) == 1
    assert {record.self_weight for record in newcomer.diary.rounds} == {1.0}
    assert cast.endings == {}


async def test_joining_another_network_ends_with_code_2(cast: Any) -> None:
    other = cast.add("other", ToyLearning([1, 1, 1, 1]), network="elsewhere")
    await wait_until(lambda: len(other.diary.rounds) > 0)
    cast.add("newcomer", ToyLearning([1, 1, 1, 1]), joined=frozenset([other.id]), rounds=0)

    await wait_until(lambda: "newcomer" in cast.endings)

    assert cast.endings["newcomer"].code == 2
    assert "another network name" in cast.endings["newcomer"].why
    assert "other" not in cast.endings


async def test_garbage_is_rejected_and_changes_nothing(cast: Any, hub: Hub) -> None:
    one = cast.add("one", ToyLearning([1, 1, 1, 1]))
    await wait_until(lambda: len(one.diary.rounds) == 3)
    rows = [record.self_weight for record in one.diary.rounds]
    stranger = hub.join(RecordingPeer(), "stranger")

    await stranger.publish(b"garbage")
    await stranger.publish(MAGIC + b"\xff" * 60)

    assert any(getattr(record, "field", "") == "frame.header_length" for record in one.diary.records)
    assert [record.self_weight for record in one.diary.rounds] == rows


def test_the_clock_never_runs_backwards() -> None:
    clock = Clock()
    times = [clock() for _ in range(1000)]

    assert times == sorted(times)
