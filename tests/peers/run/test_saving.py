"""Merge inputs on their way to the disk: the newest is written, and those that it overtook are not."""

from __future__ import annotations

import threading
from typing import Any

import trio
import trio.testing

from peers.run.saving import Saver


class SlowDisk:
    """Writes nothing before `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.kept: list[Any] = []

    def save(self, saved: Any) -> None:
        raise AssertionError("not used here")

    def keep(self, inputs: Any) -> None:
        self.go.wait(10)
        self.kept.append(inputs)


async def test_of_the_inputs_that_wait_only_the_newest_are_written() -> None:
    disk = SlowDisk()
    saver: Any = Saver(disk, lambda event: None)
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            for inputs in ("first", "second", "third"):
                nursery.start_soon(saver.keep, inputs)
                await trio.testing.wait_all_tasks_blocked()
            disk.go.set()
    assert disk.kept == ["first", "third"]
