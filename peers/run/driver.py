"""One running peer: gives the core its events and begins the effects that it asks for. trio, and no decisions.

Every event goes through `_tell`, in the one thread of the event loop, so the core sees them one after the other.
`performer.py` performs the effects, in tasks of a nursery that the driver owns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import trio

from gossipllm.device.plan.choice import Chosen
from gossipllm.work import Answer as LearnerAnswer
from gossipllm.work import Progress
from peers.core.core import Core
from peers.core.effects import Answer, Effect, Judge, Verdict
from peers.core.events import (
    Blocked,
    Connected,
    Disconnected,
    Event,
    Greeted,
    Heard,
    LearnerLost,
    Misbehaved,
    PeerId,
    Showed,
    Started,
    TextChanged,
)
from peers.net.host import Link, Network
from peers.run.learner.process import Learning
from peers.run.performer import Ending, Performer, Watcher
from peers.run.saving import Saver, StatePort


class Clock:
    """Seconds that start near Unix time and never run backwards, whatever is done to the system's clock."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset_s + time.monotonic()


class Driver:
    """One running peer. It is the `Peer` of its network.

    The network needs its peer before it exists, so a driver exists before `run`, and answers like a peer that knows
    nothing until then and after its end.
    """

    def __init__(
        self,
        core: Core,
        *,
        learning: Learning,
        keeper: StatePort,
        watcher: Watcher,
        clock: Callable[[], float] | None = None,
        adopt: Callable[[Chosen], object] | None = None,
    ) -> None:
        """`adopt` keeps what this device chose for its next run."""
        self._core = core
        self._learning = learning
        self._watcher = watcher
        self._clock = clock or Clock()
        self._adopt = adopt or _forgotten
        self._saver = Saver(keeper, self._tell)
        self._performer: Performer | None = None
        self._blocked: tuple[PeerId, ...] = ()
        self._to_end, self._ended = trio.open_memory_channel[Ending](1)

    async def run(self, network: Network) -> Ending:
        """Live in this network until the core stops the peer. Cancel to stop it from outside."""
        try:
            async with trio.open_nursery() as nursery:
                self._performer = Performer(
                    network,
                    nursery,
                    learning=self._learning,
                    saver=self._saver,
                    watcher=self._watcher,
                    clock=self._clock,
                    tell=self._tell,
                    stop=self._stop,
                    adopt=self._adopt,
                )
                nursery.start_soon(self._saver.run)
                nursery.start_soon(self._learning.run, self._answered, self._lost)
                self._tell(Started())
                self.block(self._blocked)
                for peer in network.neighbours():
                    self.connected(peer, network.link(peer))
                ending = await self._ended.receive()
                nursery.cancel_scope.cancel()
        finally:
            self._performer = None
            await self._saver.save_last()
        return ending

    def block(self, peers: Sequence[PeerId]) -> None:
        """Take nothing of these peers from now on, in place of those blocked before; also before `run`."""
        self._blocked = tuple(peers)
        self._tell(Blocked(peers=self._blocked))

    def text_changed(self) -> None:
        self._tell(TextChanged())

    # What the network asks.

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

    def blob(self, digest: bytes, asker: PeerId) -> bytes | None:
        data = self._core.blob(digest, asker)
        if data is not None:
            self._tell(Showed(digest=digest, peer=asker))
        return data

    def withholds(self, digest: bytes, asker: PeerId) -> bool:
        return self._core.withholds(digest, asker)

    def connected(self, peer: PeerId, link: Link) -> None:
        self._tell(Connected(peer=peer, group=link.group, outbound=link.outbound))

    def disconnected(self, peer: PeerId) -> None:
        self._tell(Disconnected(peer=peer))

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        self._tell(Misbehaved(peer=peer, field=field, why=why, fine=fine))

    def welcome(self, peer: PeerId) -> bool:
        return self._core.welcome(peer, self._clock())

    def standing(self, peer: PeerId) -> float:
        return self._core.standing(peer)

    # Events in, effects out.

    def _tell(self, event: Event) -> list[Effect]:
        """Give the core an event and begin its effects. Nothing happens before `run` or after its end."""
        performer = self._performer
        if performer is None:
            return []
        effects = self._core.handle(event, self._clock())
        for effect in effects:
            performer.perform(effect)
        return effects

    def _stop(self, ending: Ending) -> None:
        self._performer = None
        self._to_end.send_nowait(ending)

    def _answered(self, answer: LearnerAnswer) -> None:
        if isinstance(answer, Progress):
            self._watcher.progress(answer)
        else:
            self._tell(answer)

    def _lost(self, why: str, crash: bool) -> None:
        self._tell(LearnerLost(why=why, crash=crash))


def _forgotten(chosen: Chosen) -> None:
    del chosen
