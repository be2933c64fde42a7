"""The learner's process as the driver sees it: answers, death, and an end with its parent."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from gossipllm.config import LearnerConfig
from gossipllm.work import Failed, Open, Progress
from peers.run.learner.hang import HangConfig
from peers.run.learner.process import LearnerProcess
from support.networks import wait_until


class Listener:
    def __init__(self) -> None:
        self._to_us, self.said = trio.open_memory_channel[Any](math.inf)
        self.deaths: list[tuple[str, bool]] = []

    def answered(self, answer: Any) -> None:
        self._to_us.send_nowait(answer)

    def lost(self, why: str, crash: bool) -> None:
        self.deaths.append((why, crash))

    async def first(self, kind: type) -> Any:
        with trio.fail_after(60):
            async for answer in self.said:
                if isinstance(answer, kind):
                    return answer
        raise AssertionError("the channel is never closed")


def _children() -> list[psutil.Process]:
    return [
        one for one in psutil.Process().children() if "gossipllm.learning.worker" in " ".join(one.cmdline())
    ]


@pytest.fixture
def listener() -> Listener:
    return Listener()


async def test_a_mistake_in_the_configuration_comes_back_as_the_users(
    listener: Listener, nursery: Any, tmp_path: Path
) -> None:
    learner = LearnerProcess(tmp_path / "learner.log")
    nursery.start_soon(learner.run, listener.answered, listener.lost)

    learner.ask(Open(request=7, config=LearnerConfig(), snapshot=None))
    failed = await listener.first(Failed)

    assert failed.users_fault
    assert failed.request == 7
    assert "data.path" in failed.why
    # Told before each answer, however soon that comes.
    assert learner.used.processor_s > 0
    assert learner.used.peak_bytes > 2**20
    nursery.cancel_scope.cancel()


async def test_a_learner_that_is_killed_is_reported_lost(
    listener: Listener, nursery: Any, tmp_path: Path
) -> None:
    learner = LearnerProcess(tmp_path / "learner.log")
    nursery.start_soon(learner.run, listener.answered, listener.lost)
    learner.ask(Open(request=1, config=LearnerConfig(), snapshot=None))
    await listener.first(Progress)

    os.kill(_children()[0].pid, signal.SIGKILL)
    await wait_until(lambda: bool(listener.deaths))

    assert listener.deaths == [("killed by SIGKILL, see learner.log", False)]
    nursery.cancel_scope.cancel()


async def test_no_learner_outlives_the_end_of_its_supervisor(listener: Listener, tmp_path: Path) -> None:
    learner = LearnerProcess(tmp_path / "learner.log")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learner.run, listener.answered, listener.lost)
        learner.ask(Open(request=1, config=LearnerConfig(), snapshot=None))
        await listener.first(Progress)
        process = _children()[0]
        nursery.cancel_scope.cancel()

    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert listener.deaths == []


async def test_a_learner_that_is_stopped_but_not_dead_is_ended_and_reported_lost(
    listener: Listener, nursery: Any, tmp_path: Path
) -> None:
    hang = HangConfig(tick_s=0.05, silent_ticks=100)
    learner = LearnerProcess(tmp_path / "learner.log", hang=hang)
    nursery.start_soon(learner.run, listener.answered, listener.lost)
    learner.ask(Open(request=1, config=LearnerConfig(), snapshot=None))
    await listener.first(Progress)

    os.kill(_children()[0].pid, signal.SIGSTOP)
    await wait_until(lambda: bool(listener.deaths), within_s=30)

    (why, crash) = listener.deaths[0]
    assert why.startswith("it gave no sign of life for 5 s and was ended")
    assert not crash
    nursery.cancel_scope.cancel()


async def test_a_log_that_cannot_be_written_does_not_keep_the_learner_from_starting(
    listener: Listener, nursery: Any, tmp_path: Path
) -> None:
    learner = LearnerProcess(tmp_path / "no folder" / "learner.log")
    nursery.start_soon(learner.run, listener.answered, listener.lost)

    learner.ask(Open(request=1, config=LearnerConfig(), snapshot=None))

    assert await listener.first(Progress)
    nursery.cancel_scope.cancel()
