"""What is on its way to the disk: of merge inputs the newest is written, and errors are told by their kind."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest
import trio
import trio.testing

from peers.core.events import Event, NotStored
from peers.run.saving import Saver
from support.networks import wait_until
from support.states import state_of


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


class BrokenDisk:
    def __init__(self, code: int) -> None:
        self.code = code

    def save(self, saved: Any) -> None:
        raise OSError(self.code, os.strerror(self.code))

    def keep(self, inputs: Any) -> None:
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("code", "passes"), [(errno.ENOSPC, True), (errno.EMFILE, True), (errno.EROFS, False)]
)
async def test_the_core_is_told_whether_an_error_may_pass(code: int, passes: bool) -> None:
    told: list[Event] = []
    saver = Saver(BrokenDisk(code), told.append)
    saver.save(state_of(2))
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(saver.run)
            await wait_until(lambda: bool(told))
            nursery.cancel_scope.cancel()
    assert told == [NotStored(generation=2, why=os.strerror(code), passes=passes)]
