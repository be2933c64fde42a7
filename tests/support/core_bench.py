"""A core on a bench, and the remote peers that it hears of, for scripts: events in, effects out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

import msgspec
import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.work import Absorb, Merge, Restore
from peers.core.config import NO_DEFENCE, CoreConfig, DefenceConfig, RoundConfig
from peers.core.core import Core
from peers.core.effects import Effect, Pull, Store, WakeAt
from peers.core.events import (
    Connected,
    Deadline,
    Event,
    Greeted,
    Heard,
    LearnerAnswer,
    Pulled,
    Started,
    Stored,
    Woke,
)
from peers.core.others.admission import Keys
from peers.core.plateau import SettleConfig
from peers.core.saved import Saved
from sim.toy.learner import EVIDENCE, ZERO, ToyLearner, fingerprints
from sim.toy.units import BYTE_ROWS, Form
from sim.world.keys import ToyKeys
from support.effects import every, only, requests
from support.messages import AnnouncementFields
from trust.rows.rows import TrustConfig
from wire.codec import encode_announcement, encode_greeting
from wire.digest import NO_DIGEST, Content
from wire.messages import Announcement, BlobRef, Greeting, Latest, network_id
from wire.updates.units import Offer

NET = network_id("gossipllm", fingerprints().reference)
TARGET = (1.0, 0.0, 0.0, 0.0)
UNCONFIRMED = replace(NO_DEFENCE, commit=True)
"""The defence of most scripts: rows are judged by the guard alone, and no neighbour is tried by itself."""


def update_of(values: Sequence[float]) -> Content:
    """The bytes of an update of all units, without a rank, that holds these numbers."""
    return Content.of(bytes(4) + np.array(values, "<f4").tobytes())


class RemotePeer:
    """The author of what a core hears. Blobs are given by hand."""

    def __init__(
        self,
        name: str,
        *,
        keys: Keys | None = None,
        update: Content | None = None,
        evidence: Content = EVIDENCE,
    ) -> None:
        self.name = name
        self.keys: Keys = keys or ToyKeys.of(name)
        self.update = update or update_of([1.0, 0.5, 0.0, 0.0])
        self.evidence = evidence
        self.byte_rows = BYTE_ROWS

    @property
    def id(self) -> str:
        return self.keys.peer_id

    def announce(
        self,
        round_: int = 0,
        *,
        inline: bool = True,
        sign: Callable[[bytes], bytes] | None = None,
        **changes: Unpack[AnnouncementFields],
    ) -> bytes:
        announcement = Announcement(
            net=NET,
            fingerprints=fingerprints(),
            author=self.keys.public_key,
            name=self.name,
            round=round_,
            previous=NO_DIGEST,
            update=BlobRef(digest=self.update.digest, size=self.update.size),
            offer=Offer(0),
            evidence=BlobRef(digest=self.evidence.digest, size=self.evidence.size),
            tokens=1,
            samples=1,
            steps=1,
            tokens_total=1,
            samples_total=1,
            capacity=100,
            importance=b"",
            shares=(),
            contexts=(),
            capabilities=(),
            sent_at_s=0,
        )
        payload = self.evidence.data if inline else b""
        announcement = msgspec.structs.replace(announcement, **changes)
        return encode_announcement(announcement, sign or self.keys.sign, payload=payload)

    def greet(
        self, *latest: tuple[RemotePeer, int], base: str = "toy", network: str = "gossipllm"
    ) -> Greeted:
        greeting = Greeting(
            net=network_id(network, fingerprints(base).reference),
            fingerprints=fingerprints(base),
            latest=tuple(Latest(author=author.keys.public_key, round=round_) for author, round_ in latest),
        )
        return Greeted(greeting=encode_greeting(greeting), via=self.id)


class RoundOptions(TypedDict, total=False):
    """Settings of a round that a test may change."""

    steps: int
    rounds: int
    patience_s: float
    quorum: int
    most_partners: int
    explore: int
    guard: bool
    barrier: bool
    warmup_rounds: int
    compare_every_s: float
    most_context_mb: int


class CoreOptions(TypedDict, total=False):
    """Settings of a core that a test may change."""

    joined: frozenset[str]
    trust: TrustConfig
    learner: LearnerConfig
    keep_neighbours: bool
    merges: bool
    settle: SettleConfig
    defence: DefenceConfig


class BenchOptions(CoreOptions, total=False):
    """All that a bench can be made with."""

    saved: Saved | None
    target: Sequence[float]
    form: Form
    lean: Sequence[float]
    rounds: RoundOptions


class Bench:
    """A core, a toy learner to answer it, and a clock that moves when told."""

    def __init__(
        self,
        *,
        saved: Saved | None = None,
        target: Sequence[float] = TARGET,
        form: Form = "whole",
        lean: Sequence[float] = ZERO,
        rounds: RoundOptions | None = None,
        **options: Unpack[CoreOptions],
    ) -> None:
        limits: RoundOptions = {"steps": 1, **(rounds or {})}
        options.setdefault("defence", UNCONFIRMED)
        self.config = CoreConfig(name="me", round=RoundConfig(**limits), **options)
        self.keys = ToyKeys.of("me")
        self.core = Core(self.config, self.keys, saved)
        self.learner = ToyLearner(target, form=form, lean=lean)
        self.now = 1000.0

    def tell(self, event: Event, *, after: float = 0.0) -> list[Effect]:
        self.now += after
        return self.core.handle(event, self.now)

    def answer_to(self, effects: Sequence[Effect]) -> LearnerAnswer:
        """The toy learner's answer to the first request among the effects."""
        return self.learner.answer(requests(effects)[0])

    def answer(self, effects: Sequence[Effect]) -> list[Effect]:
        return self.tell(self.answer_to(effects))

    def start(self) -> list[Effect]:
        """Up to the first question to the open learner."""
        return self.answer(self.tell(Started()))

    def train(self, effects: Sequence[Effect] | None = None) -> list[Effect]:
        """Through the local steps, up to the wish to save them."""
        return self.answer(self.start() if effects is None else effects)

    def publish(self, effects: Sequence[Effect] | None = None) -> list[Effect]:
        """Up to the announcement, and the effects that follow it at once."""
        saving = self.train() if effects is None else effects
        return self.tell(Stored(generation=only(saving, Store).saved.generation))

    def tell_stored(self, effects: Sequence[Effect]) -> None:
        """The state among the effects is on the disk."""
        self.tell(Stored(generation=only(effects, Store).saved.generation))

    def finish(self, effects: Sequence[Effect]) -> list[Effect]:
        """Answer the questions to the learner until the round is merged; the effects of its end."""
        asked = requests(effects)
        while True:
            request = asked.pop(0)
            effects = self.tell(self.learner.answer(request))
            if isinstance(request, Merge | Absorb | Restore):
                return effects
            asked += requests(effects)

    def meet(self, *others: RemotePeer) -> None:
        for other in others:
            self.tell(Connected(peer=other.id))
            self.tell(other.greet())

    def receive(
        self, other: RemotePeer, round_: int = 0, **fields: Unpack[AnnouncementFields]
    ) -> list[Effect]:
        """Hear a remote peer's announcement and fetch the blobs that are asked for; all effects together."""
        effects = self.tell(Heard(frame=other.announce(round_, **fields), via=other.id))
        for pull in every(effects, Pull):
            effects += self.give(pull, other)
        return effects

    def give(self, pull: Pull, other: RemotePeer) -> list[Effect]:
        """The blob that is asked for comes, of a remote peer."""
        held = {one.digest: one for one in (other.update, other.evidence, other.byte_rows)}
        content = held.get(pull.digest, other.evidence)
        return self.tell(Pulled(request=pull.request, content=content))

    def lose_patience(self, effects: Sequence[Effect]) -> list[Effect]:
        wake = only([one for one in every(effects, WakeAt) if isinstance(one.timer, Deadline)], WakeAt)
        self.now = max(self.now, wake.at)
        return self.tell(Woke(timer=wake.timer))
