"""The processes of the demo's peers: started, read, and always ended.

Each is a `gossipllm run` whose standard input is a pipe from the demo. When the demo's process ends, even by `kill -9`,
the pipe closes, and the peer stops together with its learner. So no process can be left behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from peers.commands.demo.board import DemoPeerRow
from peers.commands.demo.demo_peers import DemoPeer
from trust.errors import UserMistake

START_S = 60.0
"""Seconds for the first peer to listen; it takes one or two unless the machine is very busy."""
FAREWELL_S = 8.0
MAX_LINE_BYTES = 2**20


@asynccontextmanager
async def running(
    peers_of_demo: Sequence[DemoPeer], rows: Sequence[DemoPeerRow], log: Path, *, joined: bool
) -> AsyncGenerator[None]:
    """All peers run inside the block, joined through the first or each alone. Rows are kept up to date."""
    async with trio.open_nursery() as nursery:
        processes: list[trio.Process] = []
        try:
            for demo_peer, row in zip(peers_of_demo, rows, strict=True):
                join = (f"--join={rows[0].address}",) if joined and processes else ()
                processes.append(await _start(nursery, demo_peer, row, log, join))
                if joined and len(processes) == 1:
                    await _until(lambda: bool(rows[0].address), rows[0])
            yield
        finally:
            with trio.CancelScope(shield=True):
                await _end(processes)
            nursery.cancel_scope.cancel()


async def _start(
    nursery: trio.Nursery, demo_peer: DemoPeer, row: DemoPeerRow, log: Path, join: Sequence[str]
) -> trio.Process:
    command = [
        *(sys.executable, "-m", "gossipllm.cli", "run", str(demo_peer.home.folder)),
        *("--json", "--stop-with-stdin", *join),
    ]
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    nursery.start_soon(_read, process, row)
    return process


async def _read(process: trio.Process, row: DemoPeerRow) -> None:
    assert process.stdout is not None, "opened with a pipe"
    pending = b""
    async for piece in process.stdout:
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            row.take(line.decode(errors="replace"))
        pending = pending[-MAX_LINE_BYTES:]
    code = await process.wait()
    if not row.done:
        row.doing = f"ended ({code})"


async def _until(true: Callable[[], bool], row: DemoPeerRow) -> None:
    with trio.move_on_after(START_S):
        while not true():
            if row.doing.startswith("ended"):
                break
            await trio.sleep(0.02)
        else:
            return
    raise UserMistake(f"the peer {row.name} did not start: {row.doing} {row.last_words}")


async def _end(processes: Sequence[trio.Process]) -> None:
    for process in processes:
        assert process.stdin is not None, "opened with a pipe"
        await process.stdin.aclose()
    with trio.move_on_after(FAREWELL_S):
        for process in processes:
            await process.wait()
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.wait()
