"""Tasks in processes of their own: as many at once as there are jobs, and none left when this one ends.

A process is started afresh (spawn), uses one thread and takes one task after the other, so that what it loads
once serves all its tasks. It ignores the terminal's interrupt, which is ours to decide on, and ends when we do,
however that is. Torch is imported there and not here.
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
    """The task raised; a user's mistake has one line, anything else its traceback."""

    task: int
    text: str
    users_fault: bool


News: TypeAlias = Advanced | Finished


class TaskFailedError(RuntimeError):
    """A task raised what nobody expected, or its process died. The text has the traceback."""


def perform_all(function: str, tasks: Sequence[Any], *, jobs: int) -> Generator[News]:
    """What happens while `function` ("module:name") performs the tasks, in order of time.

    The function is called with a task and a callable that takes the units of work done so far. Raises
    `UserMistake` where a task does, and `TaskFailedError` for all else; whichever way the iterator ends, its
    processes have ended before it does.
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

    def run(self, tasks: list[Any]) -> Generator[News]:
        waiting = list(enumerate(tasks))[::-1]
        busy: set[Connection] = set()
        for connection in self._workers:
            if waiting:
                connection.send(waiting.pop())
                busy.add(connection)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection), "these are what is waited for"
                news = self._received(ready)
                yield news
                if isinstance(news, Finished):
                    busy.discard(ready)
                    if waiting:
                        ready.send(waiting.pop())
                        busy.add(ready)

    def _received(self, connection: Connection) -> News:
        try:
            news: News | _Broken = connection.recv()
        except (EOFError, OSError):
            process = self._workers[connection]
            process.join(FAREWELL_S)
            why = f"a process of the simulation ended by itself (exit code {process.exitcode})"
            if process.exitcode == -signal.SIGKILL:
                why += "; perhaps for lack of memory: try fewer --jobs"
            raise TaskFailedError(why) from None
        if isinstance(news, _Broken):
            raise UserMistake(news.text) if news.users_fault else TaskFailedError(news.text)
        return news

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
    """What processes that are started in here have from their first instruction on.

    One thread each, because more would fight over the processors: it is read when numpy or torch is imported, and a
    process begins by importing its parent's main module. The interrupt is ignored from before the first import.
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
            except UserMistake as mistake:
                connection.send(_Broken(number, str(mistake), users_fault=True))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:  # noqa: BLE001  the parent says what happened, and ends everything
                connection.send(_Broken(number, traceback.format_exc(), users_fault=False))
            else:
                connection.send(Finished(number, result))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "this process was started by another"
    parent.join()
    os._exit(1)
