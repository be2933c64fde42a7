"""A pool of worker processes that perform tasks, `jobs` at a time, and end with this process.

A worker is spawned, uses one thread and takes one task after the other, so that a model loaded once serves all its
tasks. It ignores the terminal's interrupt, which the parent handles, and exits when the parent does, also when that
was killed. Torch is imported in the workers only.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeAlias, cast

from trust.errors import UserMistake

FAREWELL_S: Final = 5.0
"""Seconds that a worker has to end before it is killed. Guess."""
_ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class Advanced:
    """`done` units of the task's work are finished."""

    task: int
    done: int


@dataclass(frozen=True, slots=True)
class Finished:
    task: int
    result: Any


@dataclass(frozen=True, slots=True)
class _Broken:
    """The task raised: `text` is the one line of a `UserMistake`, or a traceback."""

    task: int
    text: str
    users_fault: bool


TaskProgress: TypeAlias = Advanced | Finished


class TaskFailedError(RuntimeError):
    """A task raised something other than `UserMistake`, or its process died. The text has the traceback."""


def perform_all(function: str, tasks: Sequence[Any], *, jobs: int) -> Generator[TaskProgress]:
    """Progress of the tasks, in order of time, while workers call `function` ("module:name") with each.

    The function is given a task and a callable that takes the units of work done so far. Raises `UserMistake` where
    a task does, and `TaskFailedError` for any other failure. All processes have ended when the iterator does.
    """
    pool = _Pool(function, min(jobs, len(tasks)))
    try:
        yield from pool.run(list(tasks))
    finally:
        pool.end()


class _Pool:
    def __init__(self, function: str, jobs: int) -> None:
        context = get_context("spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        with _inherited():
            for _ in range(jobs):
                ours, theirs = cast("tuple[Connection, Connection]", context.Pipe())
                process = context.Process(target=_serve, args=(theirs, function), daemon=True)
                process.start()
                theirs.close()
                self._workers[ours] = process

    def run(self, tasks: list[Any]) -> Generator[TaskProgress]:
        waiting = list(enumerate(tasks))[::-1]
        busy: set[Connection] = set()
        for connection in self._workers:
            if waiting:
                connection.send(waiting.pop())
                busy.add(connection)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection), "only connections are waited for"
                progress = self._received(ready)
                yield progress
                if isinstance(progress, Finished):
                    busy.discard(ready)
                    if waiting:
                        ready.send(waiting.pop())
                        busy.add(ready)

    def _received(self, connection: Connection) -> TaskProgress:
        try:
            received: TaskProgress | _Broken = connection.recv()
        except (EOFError, OSError):
            process = self._workers[connection]
            process.join(FAREWELL_S)
            why = f"a process of the simulation ended by itself (exit code {process.exitcode})"
            if process.exitcode == -signal.SIGKILL:
                why += "; perhaps for lack of memory: try fewer --jobs"
            raise TaskFailedError(why) from None
        if isinstance(received, _Broken):
            raise UserMistake(received.text) if received.users_fault else TaskFailedError(received.text)
        return received

    def end(self) -> None:
        for connection, process in self._workers.items():
            connection.close()
            process.terminate()
        for process in self._workers.values():
            process.join(FAREWELL_S)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def _inherited() -> Generator[None]:
    """Environment and signal handling that processes started within the block inherit.

    One thread each, because more would compete for the processors. The variables are read when numpy or torch is
    imported, and a spawned process begins by importing its parent's main module, so they must be set before it starts.
    The interrupt is ignored before the first import for the same reason.
    """
    before = dict(os.environ)
    os.environ.update(_ONE_THREAD)
    main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main_thread else None
    try:
        yield
    finally:
        if main_thread:
            signal.signal(signal.SIGINT, handler)
        for name in _ONE_THREAD:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def _serve(connection: Connection, function: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, _, name = function.partition(":")
    perform: Callable[[Any, Callable[[int], None]], Any] | None = None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            number, task = connection.recv()
            try:
                perform = perform or getattr(importlib.import_module(module), name)
                assert perform is not None, "a module's function"
                result = perform(task, lambda done, at=number: connection.send(Advanced(at, done)))
            except UserMistake as error:
                connection.send(_Broken(number, str(error), users_fault=True))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:  # noqa: BLE001  the parent reports it and ends all workers
                connection.send(_Broken(number, traceback.format_exc(), users_fault=False))
            else:
                connection.send(Finished(number, result))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "workers are spawned"
    parent.join()
    os._exit(1)
