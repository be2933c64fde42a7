"""Performs the core's effects while a peer runs.

Effects that take time run in tasks of the driver's nursery, and what comes of them is told to the core as an event.
Requests to the network have their own deadlines there; the learner's are as long as training takes, and its death is
an event. Tasks are bounded by what the core has asked for: one pull for each missing blob of at most `most_partners`
neighbours, one greeting for each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

import trio

from gossipllm.device.plan.choice import Chosen
from gossipllm.work import Absorb, Confirm, Evaluate, Fit, Merge, Open, Progress, Restore, Train, Weigh
from peers.core.effects import (
    Adopt,
    Answer,
    Drop,
    Effect,
    Greet,
    Judge,
    Keep,
    Log,
    Publish,
    Pull,
    Stop,
    Store,
    WakeAt,
)
from peers.core.events import Event, NotPulled, Pulled, Replied, Woke
from peers.core.merge_inputs import MergeInputs
from peers.net.host import Network, NetworkTraffic, PullFailed, Unreachable
from peers.run.learner.process import Learning
from peers.run.saving import Saver
from trust.record.history import Note, Record
from wire.digest import Content


class Watcher(Protocol):
    """Receives what happens: the history, the terminal, or a program that reads our output."""

    def report(self, record: Record, traffic: NetworkTraffic) -> None: ...

    def progress(self, progress: Progress) -> None: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a peer stopped by itself: exit code and one line."""

    code: int
    why: str


class Performer:
    """Performs effects in `network`, in tasks of `nursery`."""

    def __init__(
        self,
        network: Network,
        nursery: trio.Nursery,
        *,
        learning: Learning,
        saver: Saver,
        watcher: Watcher,
        clock: Callable[[], float],
        tell: Callable[[Event], object],
        stop: Callable[[Ending], None],
        adopt: Callable[[Chosen], object],
    ) -> None:
        self._network = network
        self._nursery = nursery
        self._learning = learning
        self._saver = saver
        self._watcher = watcher
        self._clock = clock
        self._tell = tell
        self._stop = stop
        self._adopt = adopt

    def perform(self, effect: Effect) -> None:
        """Begin this effect, without waiting for its end."""
        match effect:
            case Open() | Train() | Weigh() | Confirm() | Evaluate() | Fit() | Merge() | Absorb() | Restore():
                self._learning.ask(effect)
            case Store():
                self._saver.save(effect.saved)
            case Keep():
                self._nursery.start_soon(self._keep, effect.inputs)
            case Adopt():
                self._adopt(effect.chosen)
            case Publish() | Pull() | Greet() | Drop():
                self._send(effect)
            case WakeAt():
                self._nursery.start_soon(self._wake, effect)
            case Log():
                self._watcher.report(effect.record, self._network.traffic())
            case Stop():
                self._stop(Ending(effect.code, effect.why))
            case Judge() | Answer():
                """The driver returns these to the network, which waits for them."""
            case _:
                assert_never(effect)

    def _send(self, effect: Publish | Pull | Greet | Drop) -> None:
        match effect:
            case Publish():
                self._nursery.start_soon(self._publish, effect)
            case Pull():
                self._nursery.start_soon(self._pull, effect)
            case Greet():
                self._nursery.start_soon(self._greet, effect)
            case Drop():
                self._nursery.start_soon(self._network.disconnect, effect.peer)

    async def _keep(self, inputs: MergeInputs) -> None:
        why = await self._saver.keep(inputs)
        if why is not None:
            text = f"what was merged in round {inputs.round} is not kept for looking at it: {why}"[:500]
            self._watcher.report(Note(peer=inputs.peer, level="warning", text=text), self._network.traffic())

    async def _publish(self, effect: Publish) -> None:
        try:
            await self._network.publish(effect.frame)
        except Unreachable:
            """Nobody to tell; a peer that connects later compares with us and finds it."""

    async def _pull(self, effect: Pull) -> None:
        try:
            data = await self._network.pull(effect.digest, effect.size, effect.sources)
        except PullFailed as error:
            self._tell(NotPulled(request=effect.request, why=str(error), later=error.later))
        else:
            self._tell(Pulled(request=effect.request, content=Content(effect.digest, data)))

    async def _greet(self, effect: Greet) -> None:
        try:
            reply = await self._network.greet(effect.peer, effect.greeting)
        except Unreachable:
            """The connection went; if it comes back, so does the greeting."""
        else:
            self._tell(Replied(reply=reply, via=effect.peer))

    async def _wake(self, effect: WakeAt) -> None:
        await trio.sleep(max(0.0, effect.at - self._clock()))
        self._tell(Woke(timer=effect.timer))
