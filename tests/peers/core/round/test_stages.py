"""The table of stages is what the machine does: no step outside of it, and no row of it that never happens."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.work import Declined, Evaluated, Failed, Fitted, Merged, Request, Weigh
from peers.core.config import NO_DEFENCE, DefenceConfig
from peers.core.effects import Effect, Pull, Store, WakeAt
from peers.core.events import (
    Blocked,
    Connected,
    Disconnected,
    Event,
    Heard,
    LearnerAnswer,
    LearnerLost,
    Misbehaved,
    NotPulled,
    NotStored,
    Pulled,
    Replied,
    Started,
    Stored,
    TextChanged,
    Woke,
)
from peers.core.plateau import NEVER_SETTLES, SettleConfig
from peers.core.round.stages import (
    TRANSITIONS,
    Choosing,
    Fitting,
    Gathering,
    Kind,
    Merging,
    Resting,
    Shrinking,
    Stage,
    Training,
)
from peers.core.saved import Saved
from sim.toy.learner import fingerprints
from support.core_bench import NET, Bench, RemotePeer, update_of
from support.effects import every, requests
from support.transitions import check_step, kind_of
from trust.rows.config import StrategyName, TrustConfig
from wire.codec import encode_reply
from wire.messages import Reply

STEPS = 8_000
WALKS = 18
STRATEGIES: tuple[StrategyName, ...] = ("predictions", "learned", "uniform")


class Walk:
    """A core that is told one possible thing after the other, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.others = [RemotePeer(name, update=update_of([1.0, 0.4, 0.1, 0.0])) for name in ("ann", "ben")]
        self.announced = dict.fromkeys((one.id for one in self.others), -1)
        self.seen: set[tuple[type[Stage], Kind, type[Stage]]] = set()
        self.durable: Saved | None = None
        self.restart()

    def restart(self) -> None:
        """Begin another process with the state that the last one left on disk; after the last round, with none."""
        pushes = self.seed % 6 == 5
        self.bench = Bench(
            saved=self.durable,
            form="split" if pushes else "whole",
            rounds={"steps": 1, "rounds": 5 * (self.seed % 2), "guard": self.seed != 3},
            trust=TrustConfig(strategy=STRATEGIES[self.seed % 3]),
            learner=LearnerConfig(mixing="push-sum" if pushes else "parameters"),
            defence=DefenceConfig(patience=1) if self.seed in (1, 8, 10) else NO_DEFENCE,
            keep_neighbours=True,
            settle=SettleConfig(patience=2, decays=0) if self.seed in (4, 10) else NEVER_SETTLES,
        )
        if self.durable is not None and self.durable.round >= 5:
            self.durable = None
        self.asked: list[Request] = []
        self.pulls: list[Pull] = []
        self.stores: list[Store] = []
        self.wakes: list[WakeAt] = []
        self.tell(Started())
        for other in self.others:
            self.tell(Connected(peer=other.id))

    def tell(self, event: Event) -> None:
        before = type(self.bench.core.stage)
        effects = self.bench.tell(event, after=0.01)
        after = type(self.bench.core.stage)
        check_step(before, event, after, effects)
        self.seen.add((before, kind_of(event), after))
        self._note(effects)

    def _note(self, effects: list[Effect]) -> None:
        self.asked += requests(effects)
        self.pulls += every(effects, Pull)
        self.stores += every(effects, Store)
        self.wakes += every(effects, WakeAt)

    def step(self) -> None:
        """Mostly what moves the round on; now and then a fault, a neighbour or a timer."""
        lot = self.random.random()
        if lot < (0.05 if isinstance(self.bench.core.stage, Resting) else 0.003):
            self.restart()
        elif lot < 0.02:
            self.asked.clear()
            self.tell(LearnerLost(why="killed"))
        elif lot < 0.05 and isinstance(self.bench.core.stage, Fitting | Choosing | Shrinking):
            self.tell(Blocked(peers=(self.random.choice(self.others).id,)))
        elif lot < 0.4 and (self.asked or self.stores):
            self._serve()
        elif lot < 0.8:
            self._neighbour()
        elif self.wakes:
            wake = self.wakes.pop(self.random.randrange(len(self.wakes)))
            self.bench.now = max(self.bench.now, wake.at)
            self.tell(Woke(timer=wake.timer))

    def _serve(self) -> None:
        if self.stores and (not self.asked or self.random.random() < 0.5):
            saved = self.stores.pop(self.random.randrange(len(self.stores))).saved
            if self.random.random() < 0.2:
                self.tell(NotStored(generation=saved.generation, why="full"))
            else:
                self.durable = saved
                self.tell(Stored(generation=saved.generation))
        else:
            request = self.asked.pop(0)
            self.tell(self._answer(request))

    def _answer(self, request: Request) -> LearnerAnswer:
        lot = self.random.random()
        if lot < 0.04:
            return Failed(request=request.request, why="out of memory", users_fault=False)
        if lot < 0.2 and isinstance(request, Weigh):
            return Declined(request=request.request, author=request.author, field="update", why="not finite")
        answer = self.bench.learner.answer(request)
        if isinstance(answer, Evaluated):
            # Any candidate may be the best, and so may be keeping everything.
            losses = tuple(self.random.choice((0.5, 1.0, 2.0)) for _ in answer.losses)
            gains = tuple(losses[-1] - loss for loss in losses)
            return msgspec.structs.replace(answer, losses=losses, proposed=losses, gains=gains)
        if isinstance(answer, Fitted) and lot < 0.3:
            return msgspec.structs.replace(answer, row=tuple(math.nan for _ in answer.row))
        if isinstance(answer, Merged) and lot < 0.1:
            return msgspec.structs.replace(answer, trust_loss=math.nan)
        return answer

    def _neighbour(self) -> None:
        other = self.random.choice(self.others)
        lot = self.random.random()
        if self.pulls and lot < 0.4:
            pull = self.pulls.pop(0)
            known = {one.update.digest: one.update for one in self.others}
            content = known.get(pull.digest, other.evidence)
            here = content.digest == pull.digest and self.random.random() < 0.9
            event = (
                Pulled(request=pull.request, content=content)
                if here
                else NotPulled(request=pull.request, why="gone")
            )
            self.tell(event)
        elif lot < 0.7:
            self.announced[other.id] += 1
            number = 1000 * self.others.index(other) + self.announced[other.id]
            other.update = update_of([1.0, 0.4, 0.1, number / 1e7])
            self.tell(Heard(frame=other.announce(self.announced[other.id]), via=other.id))
        elif lot < 0.8:
            self.tell(Connected(peer=other.id))
        elif lot < 0.9:
            self.tell(other.greet())
        elif lot < 0.93:
            self.tell(Disconnected(peer=other.id))
        elif lot < 0.96:
            reply = Reply(net=NET, fingerprints=fingerprints(), frames=())
            self.tell(Replied(reply=encode_reply(reply), via=other.id))
        elif lot < 0.98:
            self.tell(Blocked(peers=()))
        elif lot < 0.985:
            self.tell(TextChanged())
        else:
            self.tell(Misbehaved(peer=other.id, field="stream", why="too long", fine=-0.1))


@pytest.fixture(scope="module")
def seen() -> set[tuple[type[Stage], Kind, type[Stage]]]:
    found: set[tuple[type[Stage], Kind, type[Stage]]] = set()
    for seed in range(WALKS):
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()
        found |= walk.seen
    return found


def test_every_row_of_the_table_happens(seen: set[tuple[type[Stage], Kind, type[Stage]]]) -> None:
    arrows = {(before, after) for before, _, after in seen}
    kinds = {(before, kind) for before, kind, _ in seen}
    missing = [
        f"{row.stage.__name__} -> {after.__name__}"
        for row in TRANSITIONS
        for after in row.to
        if (row.stage, after) not in arrows
    ]
    missing += [
        f"{row.stage.__name__} is told {kind.__name__}"
        for row in TRANSITIONS
        for kind in row.events
        if (row.stage, kind) not in kinds
    ]
    assert not missing


def test_a_step_that_is_not_in_the_table_is_noticed() -> None:
    bench = Bench()
    effects = bench.start()
    event = bench.answer_to(effects)
    stored = bench.tell(event)
    with pytest.raises(AssertionError, match="another next stage"):
        check_step(Training, event, Merging, stored)
    with pytest.raises(AssertionError, match="not in the table"):
        check_step(Gathering, event, Merging, stored)
    with pytest.raises(AssertionError, match="other effects"):
        check_step(Training, event, type(bench.core.stage), [*stored, *effects])
