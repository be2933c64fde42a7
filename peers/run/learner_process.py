"""The learner in a process of its own: started, fed, listened to, and mourned.

Training beside the network in one process delays heartbeats by up to half a second while torch loads, and a
crash in native code would take the connections along. Apart, each can be restarted without the other.

Every `Open` begins a new process, so there is never a question of what an old one still holds. Requests wait in an
unbounded queue, which the core keeps short: it has at most a few questions open, and none grows with what
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
from gossipllm.work import Answer, Open, Request

PIPE_BYTES = 2**20
"""Capacity asked of the kernel for each pipe (Linux gives 64 kB by itself): fewer turns for megabytes."""
FAREWELL_S = 2.0
"""Seconds that a learner has to end by itself once its pipe is closed."""

Answered = Callable[[Answer], None]
Lost = Callable[[str], None]


class Learning(Protocol):
    """Who answers requests: a process, or, in tests and benchmarks, something that only pretends to learn."""

    async def run(self, answered: Answered, lost: Lost) -> None:
        """Serve until cancelled. `lost` is told when requests that were asked will not be answered."""
        ...

    def ask(self, request: Request) -> None: ...


class LearnerProcess:
    """`gossipllm.learning.worker` behind pipes. What it prints goes to `log`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._to_ask, self._asked = trio.open_memory_channel[Request](math.inf)
        self._process: trio.Process | None = None
        self._out: Sender[Request] = requests_out()

    def ask(self, request: Request) -> None:
        self._to_ask.send_nowait(request)

    async def run(self, answered: Answered, lost: Lost) -> None:
        async with trio.open_nursery() as nursery:
            try:
                async for request in self._asked:
                    if isinstance(request, Open):
                        await self._end()
                        await self._begin(nursery, answered, lost)
                    await self._send(request)
            finally:
                with trio.CancelScope(shield=True):
                    await self._end()

    async def _begin(self, nursery: trio.Nursery, answered: Answered, lost: Lost) -> None:
        self._out = requests_out()
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "gossipllm.learning.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
            )
        finally:
            os.close(descriptor)
        nursery.start_soon(self._listen, self._process, answered, lost)

    async def _end(self) -> None:
        """Close the pipe, which the learner takes as the end; insist if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None, "opened with a pipe"
        await process.stdin.aclose()
        with trio.move_on_after(FAREWELL_S):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()

    async def _send(self, request: Request) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A broken pipe is the death that `_listen` reports.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in self._out.frame(request):
                await process.stdin.send_all(piece)
        if ends_exchange(request):
            self._out.forget()

    async def _listen(self, process: trio.Process, answered: Answered, lost: Lost) -> None:
        assert process.stdout is not None, "opened with a pipe"
        _enlarge(process)
        receiver = answers_in()
        try:
            async with process.stdout as stream:
                while (answer := await _receive(stream, receiver)) is not None:
                    if process is self._process:
                        answered(answer)
                    receiver.forget()
            why = ""
        except PipeError as error:
            process.kill()
            why = f"{error}, "
        code = await process.wait()
        if process is self._process:
            self._process = None
            lost(f"{why}exit code {code}, see {self._log.name}")


async def _receive(stream: trio.abc.ReceiveStream, receiver: Receiver[Answer]) -> Answer | None:
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
