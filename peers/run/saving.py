"""Keeping a peer's state on disk: in order, in a thread, and to the end.

States are saved one after the other through a queue of one consumer, because a later generation must never be
overtaken by an earlier one. Merge inputs, which only serve `gossipllm trust explain`, replace each other: if one is
being written, only the newest of those that wait is written after it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Protocol

import trio

from peers.core.events import Event, NotStored, Stored
from peers.core.merge_inputs import MergeInputs
from peers.core.saved import Saved
from trust.files import may_pass


class StatePort(Protocol):
    """Where states are kept: `peers.home.store.StateStore` on devices."""

    def save(self, saved: Saved) -> None:
        """Make it durable; blocks. Raises `OSError`."""
        ...

    def keep(self, inputs: MergeInputs, /) -> None:
        """Write the merge inputs in place of the last ones; blocks. Raises `OSError`."""
        ...


class Saver:
    """Writes states and merge inputs to `port`, and reports through `tell` which states are safe."""

    def __init__(self, port: StatePort, tell: Callable[[Event], object]) -> None:
        self._port = port
        self._tell = tell
        # Unbounded, and short all the same: the core does not go on before its last state is stored.
        self._to_save, self._to_be_saved = trio.open_memory_channel[Saved](math.inf)
        self._newest_inputs: MergeInputs | None = None
        self._writing_inputs = trio.Lock()
        self._inputs_fail = False

    def save(self, saved: Saved) -> None:
        """Queue this state. `Stored` or `NotStored` follows."""
        self._to_save.send_nowait(saved)

    async def run(self) -> None:
        async for saved in self._to_be_saved:
            try:
                await trio.to_thread.run_sync(self._port.save, saved)
            except OSError as error:
                why = error.strerror or str(error)
                self._tell(NotStored(generation=saved.generation, why=why, passes=may_pass(error)))
            else:
                self._tell(Stored(generation=saved.generation))

    async def save_last(self) -> None:
        """Save the newest state that still waits after `run` has ended; a save under way has ended with its task."""
        last: Saved | None = None
        with contextlib.suppress(trio.WouldBlock):
            while True:
                last = self._to_be_saved.receive_nowait()
        if last is None:
            return
        # A full disk costs the last step, not the state before it, and nothing is left that could react to it.
        with trio.CancelScope(shield=True), contextlib.suppress(OSError):
            await trio.to_thread.run_sync(self._port.save, last)

    async def keep(self, inputs: MergeInputs) -> str | None:
        """Write merge inputs, unless newer ones wait. Returns why that failed, once for each run of failures."""
        self._newest_inputs = inputs
        async with self._writing_inputs:
            if self._newest_inputs is not inputs:
                return None
            # Or the updates in it would stay in memory until the next merge.
            self._newest_inputs = None
            try:
                await trio.to_thread.run_sync(self._port.keep, inputs)
            except OSError as error:
                is_news, self._inputs_fail = not self._inputs_fail, True
                return (error.strerror or str(error)) if is_news else None
            self._inputs_fail = False
            return None
