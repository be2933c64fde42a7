"""The learner in a process of its own: started, sent requests, listened to, and reported when it dies or hangs.

Training beside the network in one process delays heartbeats by up to half a second while torch loads, and a crash in
native code would take the connections along. Apart, each can be restarted without the other.

Every `Open` starts a new process, so that no state of an old one can be left in it. Requests wait in an unbounded
queue, which the core keeps short: it has at most a few requests open, and their number does not grow with what
strangers send.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import trio

from gossipllm.pipe import (
    PREFIX,
    PipeError,
    Receiver,
    Sender,
    answers_in,
    ends_exchange,
    requests_out,
)
from gossipllm.work import Answer, Beat, Open, Opened, Request
from peers.run.costs import LearnerUse
from peers.run.learner.hang import HangConfig, HangWatch
from peers.run.learner.log import bound_log, ended, open_log

PIPE_BYTES = 2**20
"""Capacity asked of the kernel for each pipe (Linux gives 64 kB by itself): fewer turns for megabytes."""
FAREWELL_S = 2.0
"""Seconds that a learner has to end by itself once its pipe is closed, before it is killed. Its state is not at risk:
the network process keeps it."""

Answered = Callable[[Answer], None]
Lost = Callable[[str, bool], None]
"""(why, whether it crashed): `LearnerLost`."""


class Learning(Protocol):
    """What answers requests to the learner: a process, or a toy in tests and benchmarks."""

    async def run(self, answered: Answered, lost: Lost) -> None:
        """Serve until cancelled. `lost` is called when requests that were asked will not be answered."""
        ...

    def ask(self, request: Request) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    """A worker process that was started, with both ends of its pipes."""

    process: trio.Process
    requests: trio.abc.SendStream
    answers: trio.abc.ReceiveStream
    sender: Sender[Request]
    watch: HangWatch
    log_at: int
    """Length of the log when the worker began."""


class LearnerProcess:
    """`gossipllm.learning.worker` behind pipes. What it prints goes to the file `log`."""

    def __init__(self, log: Path, *, hang: HangConfig | None = None) -> None:
        self._log = log
        self._hang = hang or HangConfig()
        self._to_ask, self._asked = trio.open_memory_channel[Request](math.inf)
        self._worker: _Worker | None = None
        self._ended_s = 0.0
        """Processor seconds of the processes before the present one."""
        self.used = LearnerUse()

    def ask(self, request: Request) -> None:
        self._to_ask.send_nowait(request)

    async def run(self, answered: Answered, lost: Lost) -> None:
        async with trio.open_nursery() as nursery:
            try:
                async for request in self._asked:
                    if isinstance(request, Open):
                        await self._end()
                        self._ended_s = self.used.processor_s
                        try:
                            self._worker = await self._started()
                        except OSError as error:
                            # No memory or no descriptors for another process: that may pass.
                            lost(f"it cannot be started: {error.strerror or error}", False)
                            continue
                        nursery.start_soon(self._serve, self._worker, answered, lost)
                    await self._send(request)
            finally:
                with trio.CancelScope(shield=True):
                    await self._end()

    async def _started(self) -> _Worker:
        descriptor, log_at = open_log(self._log)
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "gossipllm.learning.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
            )
        finally:
            os.close(descriptor)
        assert process.stdin is not None, "opened with a pipe"
        assert process.stdout is not None, "opened with a pipe"
        _enlarge(process)
        return _Worker(process, process.stdin, process.stdout, requests_out(), HangWatch(self._hang), log_at)

    async def _end(self) -> None:
        """Close the pipe, which the worker takes as the end, and kill the worker if it does not end by itself."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        await worker.requests.aclose()
        with trio.move_on_after(FAREWELL_S):
            await worker.process.wait()
        if worker.process.returncode is None:
            worker.process.kill()
            await worker.process.wait()

    async def _send(self, request: Request) -> None:
        worker = self._worker
        if worker is None:
            return
        worker.watch.asked(request.request)
        # A broken pipe means that the worker died, which `_listen` reports.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in worker.sender.frame(request):
                await worker.requests.send_all(piece)
        if ends_exchange(request):
            worker.sender.forget()

    async def _serve(self, worker: _Worker, answered: Answered, lost: Lost) -> None:
        """Pass on answers until the worker ends, and end it where it hangs."""
        hung: list[str] = []

        async def look() -> None:
            while not hung:
                await trio.sleep(self._hang.tick_s)
                bound_log(self._log)
                if (why := worker.watch.tick()) is not None:
                    hung.append(why)
            worker.process.kill()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            broken = await self._listen(worker, answered)
            code = await worker.process.wait()
            nursery.cancel_scope.cancel()
        if worker is self._worker:
            self._worker = None
            found = ended(self._log, code, since=worker.log_at)
            lost("; ".join((*hung[:1], *broken, found.why)), found.crash and not hung)

    async def _listen(self, worker: _Worker, answered: Answered) -> tuple[str, ...]:
        """Pass on answers to the end of the stream. Returns what is wrong with the bytes, nothing where they are
        whole."""
        receiver = answers_in()
        try:
            async with worker.answers as stream:
                while (message := await _receive(stream, receiver)) is not None:
                    worker.watch.heard(message)
                    self._use(message)
                    if worker is self._worker and not isinstance(message, Beat):
                        answered(message)
                    receiver.forget()
        except PipeError as error:
            worker.process.kill()
            return (str(error),)
        return ()

    def _use(self, message: Answer | Beat) -> None:
        match message:
            case Beat():
                peak = max(self.used.peak_bytes, message.peak_bytes)
                self.used = LearnerUse(self._ended_s + message.cpu_s, peak, self.used.device)
            case Opened():
                self.used = replace(self.used, device=message.device)
            case _:
                """Other answers say nothing of what was used."""


async def _receive(stream: trio.abc.ReceiveStream, receiver: Receiver[Answer | Beat]) -> Answer | Beat | None:
    """The next answer; None where the stream ends, even in the middle of one."""
    prefix = await _exactly(stream, PREFIX.size)
    if prefix is None:
        return None
    head = await _exactly(stream, receiver.header_bytes(prefix))
    if head is None:
        return None
    header = receiver.header(head)
    contents: list[bytes] = []
    for _, size in header.contents:
        content = await _exactly(stream, size)
        if content is None:
            return None
        contents.append(content)
    return receiver.message(header, contents)


async def _exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < count:
        piece = await stream.receive_some(min(PIPE_BYTES, count - len(pieces)))
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)


def _enlarge(process: trio.Process) -> None:
    size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if size is None:
        return
    for stream in (process.stdin, process.stdout):
        descriptor = getattr(stream, "fileno", None)
        if descriptor is not None:
            # The limit for all pipes of a user may be reached; the default size works too.
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor(), size, PIPE_BYTES)
