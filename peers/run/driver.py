"""The hands of a peer: perform what the core asks for, tell it what came of it. trio, and no decisions.

Every event goes through `_tell`, in the one thread of the event loop, so the core sees them one after the other.
What takes time runs in tasks of a nursery that the driver owns; what must stay in order (saving) goes through
a queue of one consumer. Requests to the network have their own deadlines there; the learner's are as long as
training takes, and its death is an event.

Tasks are bounded by what the core has asked for: one pull for each missing blob of at most `most_partners`
neighbours, one greeting for each connection.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

import trio

from gossipllm.work import Absorb, Evaluate, Fit, Merge, Open, Progress, Train, Weigh
from gossipllm.work import Answer as LearnerAnswer
from peers.core.core import Core
from peers.core.effects import (
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
    Verdict,
    WakeAt,
)
from peers.core.events import (
    Connected,
    Disconnected,
    Event,
    Greeted,
    Heard,
    LearnerLost,
    Misbehaved,
    NotPulled,
    NotStored,
    PeerId,
    Pulled,
    Replied,
    Started,
    Stored,
    Woke,
)
from peers.core.merge_inputs import MergeInputs
from peers.core.saved import Saved
from peers.net.host import Network, NetworkTraffic, PullFailed, Unreachable
from peers.run.learner_process import Learning
from trust.record.history import Note, Record
from wire.digest import Content


class StatePort(Protocol):
    """Where states are kept: `peers.home.store.StateStore` on devices."""

    def save(self, saved: Saved) -> None:
        """Make it durable; blocks. Raises `OSError`."""
        ...

    def keep(self, company: MergeInputs) -> None:
        """In place of the last one; blocks. Raises `OSError`."""
        ...


class Watcher(Protocol):
    """Who wants to know: the history, the terminal, a program that reads our output."""

    def report(self, record: Record, traffic: NetworkTraffic) -> None: ...

    def progress(self, progress: Progress) -> None: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a peer stopped of itself: exit code and one line."""

    code: int
    why: str


class Clock:
    """Seconds that start near Unix time and never run backwards, whatever is done to the system's clock."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset_s + time.monotonic()


class Driver:
    """One running peer. It is the `Peer` of its network, and lives while `run` does."""

    def __init__(
        self,
        core: Core,
        *,
        learning: Learning,
        keeper: StatePort,
        watcher: Watcher,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._core = core
        self._learning = learning
        self._keeper = keeper
        self._watcher = watcher
        self._clock = clock or Clock()
        self._network: Network | None = None
        self._nursery: trio.Nursery | None = None
        self._to_save, self._to_be_saved = trio.open_memory_channel[Saved](math.inf)
        self._to_keep: MergeInputs | None = None
        self._keeping = trio.Lock()
        self._keeps = True
        self._ending: Ending | None = None

    async def run(self, network: Network) -> Ending:
        """Live in this network until the core stops the peer. Cancel to stop it from outside."""
        self._network = network
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._save)
                nursery.start_soon(self._learning.run, self._answered, self._lost)
                self._tell(Started())
                for peer in network.neighbours():
                    self._tell(Connected(peer=peer))
                await trio.sleep_forever()
        finally:
            self._nursery = None
            await self._save_the_last()
        assert self._ending is not None, "only the core's Stop cancels the driver's own nursery"
        return self._ending

    # -- what the network asks ----------------------------------------------------------------------

    def hear(self, frame: bytes, via: PeerId) -> Verdict:
        for effect in self._tell(Heard(frame=frame, via=via)):
            if isinstance(effect, Judge):
                return effect.verdict
        return Verdict.IGNORE

    def greeted(self, greeting: bytes, via: PeerId) -> bytes | None:
        for effect in self._tell(Greeted(greeting=greeting, via=via)):
            if isinstance(effect, Answer):
                return effect.reply
        return None

    def blob(self, digest: bytes) -> bytes | None:
        return self._core.blob(digest)

    def connected(self, peer: PeerId) -> None:
        self._tell(Connected(peer=peer))

    def disconnected(self, peer: PeerId) -> None:
        self._tell(Disconnected(peer=peer))

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        self._tell(Misbehaved(peer=peer, field=field, why=why, fine=fine))

    def welcome(self, peer: PeerId) -> bool:
        return self._core.welcome(peer, self._clock())

    # -- events in, effects out ---------------------------------------------------------------------

    def _tell(self, event: Event) -> list[Effect]:
        """Give the core an event and begin its effects. Nothing happens before `run` or after its end."""
        if self._nursery is None or self._ending is not None:
            return []
        effects = self._core.handle(event, self._clock())
        for effect in effects:
            self._perform(effect, self._nursery)
        return effects

    def _perform(self, effect: Effect, nursery: trio.Nursery) -> None:
        network = self._network
        assert network is not None, "effects begin in run"
        match effect:
            case Open() | Train() | Weigh() | Evaluate() | Fit() | Merge() | Absorb():
                self._learning.ask(effect)
            case Store():
                self._to_save.send_nowait(effect.saved)
            case Keep():
                nursery.start_soon(self._keep, network, effect.inputs)
            case Publish():
                nursery.start_soon(self._publish, network, effect)
            case Pull():
                nursery.start_soon(self._pull, network, effect)
            case Greet():
                nursery.start_soon(self._greet, network, effect)
            case WakeAt():
                nursery.start_soon(self._wake, effect)
            case Drop():
                nursery.start_soon(network.disconnect, effect.peer)
            case Log():
                self._watcher.report(effect.record, network.traffic())
            case Stop():
                self._ending = Ending(effect.code, effect.why)
                nursery.cancel_scope.cancel()
            case Judge() | Answer():
                """Returned to whoever asked."""
            case _:
                assert_never(effect)

    def _answered(self, answer: LearnerAnswer) -> None:
        if isinstance(answer, Progress):
            self._watcher.progress(answer)
        else:
            self._tell(answer)

    def _lost(self, why: str) -> None:
        self._tell(LearnerLost(why=why))

    # -- effects that take time ---------------------------------------------------------------------

    async def _save(self) -> None:
        async for saved in self._to_be_saved:
            try:
                await trio.to_thread.run_sync(self._keeper.save, saved)
            except OSError as error:
                self._tell(NotStored(generation=saved.generation, why=error.strerror or str(error)))
            else:
                self._tell(Stored(generation=saved.generation))

    async def _save_the_last(self) -> None:
        """What was decided just before the end is kept too; a save under way has ended with its task."""
        last: Saved | None = None
        with contextlib.suppress(trio.WouldBlock):
            while True:
                last = self._to_be_saved.receive_nowait()
        if last is None:
            return
        # A full disk costs the last step, not the state before it, and nobody is left to tell.
        with trio.CancelScope(shield=True), contextlib.suppress(OSError):
            await trio.to_thread.run_sync(self._keeper.save, last)

    async def _keep(self, network: Network, company: MergeInputs) -> None:
        """One after the other, and only the newest. A failure is said, once, and costs nobody a round."""
        self._to_keep = company
        async with self._keeping:
            if self._to_keep is not company:
                return
            # Whose updates would stay in memory until the next merge.
            self._to_keep = None
            try:
                await trio.to_thread.run_sync(self._keeper.keep, company)
            except OSError as error:
                why = error.strerror or str(error)
                text = f"what was merged in round {company.round} is not kept for looking at it: {why}"[:500]
                if self._keeps:
                    note = Note(peer=company.peer, level="warning", text=text)
                    self._watcher.report(note, network.traffic())
                self._keeps = False
            else:
                self._keeps = True

    async def _publish(self, network: Network, effect: Publish) -> None:
        try:
            await network.publish(effect.frame)
        except Unreachable:
            """Nobody to tell; whoever comes later compares with us and finds it."""

    async def _pull(self, network: Network, effect: Pull) -> None:
        try:
            data = await network.pull(effect.digest, effect.size, effect.sources)
        except PullFailed as error:
            self._tell(NotPulled(request=effect.request, why=str(error)))
        else:
            self._tell(Pulled(request=effect.request, content=Content(effect.digest, data)))

    async def _greet(self, network: Network, effect: Greet) -> None:
        try:
            reply = await network.greet(effect.peer, effect.greeting)
        except Unreachable:
            """The connection went; if it comes back, so does the greeting."""
        else:
            self._tell(Replied(reply=reply, via=effect.peer))

    async def _wake(self, effect: WakeAt) -> None:
        await trio.sleep(max(0.0, effect.at - self._clock()))
        self._tell(Woke(timer=effect.timer))
