"""One core on a bench, and the others that it hears of, for scripts: events in, effects out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pytest

from gossipllm.work import Absorb, Evaluate, Fit, Merge, Open, Request, Train, Weigh
from peers.core.config import CoreConfig, RoundConfig
from peers.core.core import Core
from peers.core.effects import Effect, Judge, Log, Pull, Store, Verdict, WakeAt
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
from peers.core.saved import Saved
from sim.toy.learner import EVIDENCE, ROWS, SCHEMA, ToyLearner, fingerprints
from sim.toy.units import Form
from sim.world.keys import ToyKeys
from trust.record.history import Note, Record, Refusal
from wire.codec import encode_announcement, encode_greeting
from wire.digest import NO_DIGEST, Content
from wire.messages import Announcement, BlobRef, Greeting, Latest, network_id
from wire.units import Offer

E = TypeVar("E")
NET = network_id("gossipllm", fingerprints())
TARGET = (1.0, 0.0, 0.0, 0.0)


def update_of(values: Sequence[float]) -> Content:
    """An update's bytes, whatever numbers it holds: all units, no rank."""
    return Content.of(bytes(4) + np.array(values, "<f4").tobytes())


def only(effects: Sequence[Effect], kind: type[E]) -> E:
    (one,) = [effect for effect in effects if isinstance(effect, kind)]
    return one


def every(effects: Sequence[Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def requests(effects: Sequence[Effect]) -> list[Request]:
    return [one for one in effects if isinstance(one, Open | Train | Weigh | Evaluate | Fit | Merge | Absorb)]


def records(effects: Sequence[Effect]) -> list[Record]:
    return [effect.record for effect in every(effects, Log)]


def notes(effects: Sequence[Effect]) -> list[str]:
    return [one.text for one in records(effects) if isinstance(one, Note)]


def refusals(effects: Sequence[Effect]) -> list[tuple[str, str]]:
    """Whom each is about, and which field."""
    return [(one.about, one.field) for one in records(effects) if isinstance(one, Refusal)]


def verdict(effects: Sequence[Effect]) -> Verdict:
    """The first."""
    return every(effects, Judge)[0].verdict


@dataclass
class Someone:
    """Another author. `announce` and `greet` make what it sends; blobs are given by hand."""

    name: str
    keys: Any = None
    update: Content = field(default_factory=lambda: update_of([1.0, 0.5, 0.0, 0.0]))
    evidence: Content = EVIDENCE

    def __post_init__(self) -> None:
        self.keys = self.keys or ToyKeys.of(self.name)

    @property
    def id(self) -> str:
        return self.keys.peer_id

    def announce(self, round_: int = 0, *, inline: bool = True, sign: Any = None, **fields: Any) -> bytes:
        values: dict[str, Any] = {
            "net": NET,
            "fingerprints": fingerprints(),
            "author": self.keys.public_key,
            "name": self.name,
            "round": round_,
            "previous": NO_DIGEST,
            "update": BlobRef(digest=self.update.digest, size=self.update.size),
            "offer": Offer(0),
            "evidence": BlobRef(digest=self.evidence.digest, size=self.evidence.size),
            "tokens": 1,
            "samples": 1,
            "steps": 1,
            "tokens_total": 1,
            "samples_total": 1,
            "capacity": 100,
            "importance": b"",
            "shares": (),
            "contexts": (),
            "capabilities": (),
            "sent_at_s": 0,
        }
        payload = self.evidence.data if inline else b""
        return encode_announcement(
            Announcement(**{**values, **fields}), sign or self.keys.sign, payload=payload
        )

    def greet(self, *latest: tuple[Someone, int], base: str = "toy", network: str = "gossipllm") -> Greeted:
        greeting = Greeting(
            net=network_id(network, fingerprints(base)),
            fingerprints=fingerprints(base),
            latest=tuple(Latest(author=who.keys.public_key, round=round_) for who, round_ in latest),
        )
        return Greeted(greeting=encode_greeting(greeting), via=self.id)


class Bench:
    """A core, a toy learner to answer it, and a clock that moves when told."""

    def __init__(
        self,
        *,
        saved: Saved | None = None,
        target: Sequence[float] = TARGET,
        form: Form = "whole",
        **options: Any,
    ) -> None:
        rounds = {"steps": 1, **options.pop("rounds", {})}
        self.config = CoreConfig(name="me", round=RoundConfig(**rounds), **options)
        self.keys = ToyKeys.of("me")
        self.core = Core(self.config, self.keys, saved)
        self.learner = ToyLearner(target, form=form)
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
        """Up to the announcement, and whatever follows it at once."""
        saving = self.train() if effects is None else effects
        return self.tell(Stored(generation=only(saving, Store).saved.generation))

    def finish(self, effects: Sequence[Effect]) -> list[Effect]:
        """Answer the learner's questions until the round is merged; the effects of its end."""
        asked = requests(effects)
        while True:
            request = asked.pop(0)
            effects = self.tell(self.learner.answer(request))
            if isinstance(request, Merge | Absorb):
                return effects
            asked += requests(effects)

    def meet(self, *others: Someone) -> None:
        for other in others:
            self.tell(Connected(peer=other.id))
            self.tell(other.greet())

    def receive(self, other: Someone, round_: int = 0, **announcement: Any) -> list[Effect]:
        """Hear its announcement and get the blobs that are asked for; all effects together."""
        effects = self.tell(Heard(frame=other.announce(round_, **announcement), via=other.id))
        for pull in every(effects, Pull):
            content = other.update if pull.digest == other.update.digest else other.evidence
            effects += self.tell(Pulled(request=pull.request, content=content))
        return effects

    def lose_patience(self, effects: Sequence[Effect]) -> list[Effect]:
        wake = only([one for one in every(effects, WakeAt) if isinstance(one.timer, Deadline)], WakeAt)
        self.now = max(self.now, wake.at)
        return self.tell(Woke(timer=wake.timer))


class Script:
    """What a test of the core needs, in one fixture: files under `tests/` cannot import each other."""

    Bench = Bench
    Someone = Someone
    NET = NET
    SCHEMA = SCHEMA
    ROWS = ROWS
    EVIDENCE = EVIDENCE
    update_of = staticmethod(update_of)
    only = staticmethod(only)
    every = staticmethod(every)
    records = staticmethod(records)
    notes = staticmethod(notes)
    refusals = staticmethod(refusals)
    verdict = staticmethod(verdict)


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def open_bench(bench: Bench) -> Bench:
    """Its learner is open and asked to train."""
    bench.start()
    return bench


@pytest.fixture
def alice() -> Someone:
    return Someone("alice")


@pytest.fixture
def bob() -> Someone:
    return Someone("bob")
