"""What a peer holds in memory and on its disk does not grow with its rounds."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from gossipllm.work import Progress
from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from peers.core.core import Core
from peers.home.store import StateStore
from peers.net.host import NetworkTraffic
from peers.run.driver import Driver
from peers.run.recording import RecordingWatcher
from sim.world.keys import ToyKeys
from support.networks import Hub
from support.toy_learning import ToyLearning
from trust.record.history import Record, Round
from trust.record.segments import HistoryLimits, all_segments, size_of
from trust.record.writer import HistoryWriter

ROUNDS = 10_000
WARM = 2_000
"""Rounds after which what is bounded has reached its bounds, such as the list of announced rounds."""
MOST_GROWTH_BYTES = 4_000_000
"""Of two peers, from WARM to the last round: 250 bytes a peer and round. An announcement kept by each would be more."""
LIMITS = HistoryLimits(segment_bytes=200_000, total_bytes=1_000_000)


class Counting:
    """An output that counts rounds."""

    failure = ""

    def __init__(self) -> None:
        self.rounds = 0

    def listening(self, peer: str, addresses: tuple[str, ...]) -> None: ...

    def record(self, record: Record, traffic: NetworkTraffic) -> None:
        self.rounds += isinstance(record, Round)

    def progress(self, progress: Progress) -> None: ...

    def status(self, neighbours: int, traffic: NetworkTraffic) -> None: ...


def _not_flushed(descriptor: int) -> None:
    del descriptor


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.battery
@pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes half an hour: make test-long")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
async def test_memory_and_disk_are_flat_over_ten_thousand_rounds(
    tmp_path: Path, hub: Hub, nursery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is on the disk after a loss of power is another test's; this one would take an hour of it.
    monkeypatch.setattr(os, "fsync", _not_flushed)
    screens: list[Counting] = []
    for number, name in enumerate(("one", "two")):
        screen = Counting()
        screens.append(screen)
        (tmp_path / name).mkdir()
        nursery.start_soon(_run, hub, name, [1.0, 1.0, 1.0, 0.1 * number], tmp_path / name, screen)

    sizes: list[tuple[int, int]] = []
    for rounds in range(WARM, ROUNDS + 1, WARM):
        await _until(lambda: min(screen.rounds for screen in screens) >= rounds)  # noqa: B023
        sizes.append((resident_bytes(), _on_disk(tmp_path)))

    growth = max(memory for memory, _ in sizes[-2:]) - sizes[0][0]
    print(f"resident bytes and bytes on the disk at each {WARM} rounds: {sizes}; growth {growth}")
    assert growth < MOST_GROWTH_BYTES
    assert sizes[-1][1] < 2 * (LIMITS.total_bytes + 2 * LIMITS.segment_bytes) + 500_000
    for name in ("one", "two"):
        assert size_of(all_segments(tmp_path / name / "history.msgpack")) > LIMITS.total_bytes / 2
    nursery.cancel_scope.cancel()


async def _run(hub: Hub, name: str, target: list[float], folder: Path, screen: Counting) -> None:
    keys = ToyKeys.of(name)
    limits = RoundConfig(steps=1, rounds=0, patience_s=5.0, compare_every_s=5.0)
    # Toys have soon learned all that there is, and would then ask nobody.
    config = CoreConfig(name=name, round=limits, defence=DefenceConfig(fruitless=0), keep_neighbours=True)
    path = folder / "history.msgpack"
    with HistoryWriter(path, peer=keys.peer_id, now=0.0, limits=LIMITS) as history:
        watcher = RecordingWatcher(history, screen, path=path, me=keys.peer_id)
        core = Core(config, keys, None)
        keeper = StateStore(folder / "state")
        driver = Driver(core, learning=ToyLearning(target), keeper=keeper, watcher=watcher)
        await driver.run(hub.join(driver, keys.peer_id))


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110  no event says it
        await trio.sleep(0.05)


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
