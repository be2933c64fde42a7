"""The best state of each honest peer in a run: the one of least loss on the peer's own trust split.

A peer that trains for ever ends past its best, alone sooner than in company, so methods are compared at each peer's
best state. It is chosen by the trust split, as the peer itself could choose it, and measured on the test split, which
decides nothing. States are those after local steps and those after merges, and the averages that a peer measures itself
because it may settle on them (`SettleConfig.average`); what takes the place of an average is the peer's own rule
(`Plateau.improves`). For a peer that trains alone this is early stopping with unlimited patience.

Two averages of a peer's own iterates, taken after the local steps of each round, compete in the same way: the mean of
all, and an exponential moving average of some three rounds. They are measured beside the run and change nothing in it.
Averaging away the noise of steps is the dullest thing that merging does, and a device can do it alone.

Axes: W windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.jobs import LossJob
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.merging.averages import mean_loss, weights_of
from gossipllm.learning.training.iterate_average import between
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.text.dealing.partitions import Share
from gossipllm.text.windows import Windows
from gossipllm.work import Averaged, Merged, Open, Opened, Trained
from peers.core.plateau import Plateau
from sim.experiments.measuring.metrics import StateMetrics, perplexity
from sim.experiments.methods import Method
from sim.experiments.scenarios import Scenario
from sim.world.trace import Happened
from wire.digest import Content
from wire.floats import F32

SHORT: Final = 0.7
"""What each round keeps of the moving average. A peer's own remembers longer (`iterate_average.DECAY`)."""

AVERAGES: Final[Mapping[str, Callable[[int], float]]] = {
    "mean": lambda count: 1 / count,
    "ema": lambda count: max(1 / count, 1 - SHORT),
}
"""Name -> the weight of iterate number `count`, from 1 on, against the average so far."""


@dataclass(slots=True, eq=False)
class _Average:
    """A running average of one peer's iterates, and its best value so far."""

    weight: Callable[[int], float]
    state: dict[str, F32] = field(default_factory=dict[str, F32])
    best: dict[str, F32] = field(default_factory=dict[str, F32])
    trust: float = float("inf")
    round: int = 0

    def add(self, iterate: State, count: int) -> None:
        weight = self.weight(count)
        self.state = {
            name: value if count == 1 else between(self.state[name], value, weight)
            for name, value in iterate.items()
        }


@dataclass(slots=True, eq=False)
class _Peer:
    """What is remembered of one peer. `iterates` counts those in its averages; `round` is that of its last local
    steps."""

    learner: Learner
    config: LearnerConfig
    trust_WT: Windows
    test_WT: Windows
    averages: dict[str, _Average]
    plateau: Plateau = field(default_factory=Plateau)
    best: Content | None = None
    best_round: int = 0
    merged: bool = False
    round: int = 0
    iterates: int = 0

    def consider(
        self, trust: float, snapshot: Content, *, merged: bool = False, averaged: bool = False
    ) -> None:
        if self.plateau.improves(trust, averaged=averaged):
            self.plateau = msgspec.structs.replace(self.plateau, least=trust, averaged=averaged)
            self.best, self.best_round, self.merged = snapshot, self.round, merged

    def consider_average(self, average: Averaged) -> None:
        self.plateau = msgspec.structs.replace(self.plateau, average_error=average.error)
        self.consider(average.trust_loss, average.snapshot, averaged=True)

    def mean(self, losses_W: F32, windows_WT: Windows) -> float:
        return mean_loss(losses_W, weights_of(windows_WT, self.config.training.reduction))


def averages_iterates(method: Method, scenario: Scenario) -> bool:
    """Whether a peer's iterates are adapters of one form that stand for the peer by themselves."""
    return method.mixing in ("parameters", "updates") and scenario.adapter.prune == 1


class BestStates:
    """Remembers the best states of a run's honest peers, which come first among its peers."""

    def __init__(self, pool: LearnerPool, *, averages: bool) -> None:
        """Without `averages`, iterates are not averaged."""
        self._pool = pool
        self._averages = AVERAGES if averages else {}
        self._peers: list[_Peer] = []

    def add(self, config: LearnerConfig, share: Share) -> None:
        """Add the next peer. A learner of its own measures its states, beside the one that trains."""
        self._peers.append(
            _Peer(
                learner=self._pool.new_learner(config, share.splits),
                config=config,
                trust_WT=share.splits.trust_WT[: config.data.trust_windows],
                test_WT=share.splits.test_WT[: config.data.test_windows],
                averages={name: _Average(weight) for name, weight in self._averages.items()},
            )
        )

    def listen(self, happened: Sequence[Happened]) -> None:
        """Everything that happened since the last call."""
        changed: list[_Peer] = []
        for one in happened:
            if one.peer >= len(self._peers):
                continue
            peer = self._peers[one.peer]
            match one.event:
                case Trained() as trained:
                    peer.round = trained.round
                    peer.consider(trained.trust_loss, trained.snapshot)
                    if trained.average is not None:
                        peer.consider_average(trained.average)
                    if peer.averages and trained.steps:
                        self._average(peer, trained.snapshot)
                        changed.append(peer)
                case Merged() as merged:
                    peer.consider(merged.trust_loss, merged.snapshot, merged=True)
                case _:
                    pass
        self._judge(changed)

    def idle_rounds(self) -> int:
        """For how many rounds no peer has lowered its least trust loss: the least number over the peers."""
        return min((peer.round - peer.best_round for peer in self._peers), default=0)

    def best(self) -> list[StateMetrics | None]:
        """The best state of each peer, measured on its test split; None for a peer that never finished local steps."""
        known = [peer for peer in self._peers if peer.best is not None]
        opened = self._pool.answer(
            [(peer.learner, Open(request=0, config=peer.config, snapshot=peer.best)) for peer in known]
        )
        losses = self._pool.test_losses([peer.learner for peer in known])
        found: dict[int, StateMetrics] = {}
        for peer, answer, losses_W in zip(known, opened, losses, strict=True):
            assert isinstance(answer, Opened), "a learner opens its own snapshot"
            found[id(peer)] = StateMetrics(
                round=peer.best_round,
                merged=peer.merged,
                trust=peer.plateau.least or 0.0,
                test=perplexity(answer.test_loss),
                windows=_numbers(losses_W),
            )
        return [found.get(id(peer)) for peer in self._peers]

    def snapshots(self) -> list[Content | None]:
        """The best state of each peer itself."""
        return [peer.best for peer in self._peers]

    def averages(self) -> list[dict[str, StateMetrics]]:
        """For each peer its averages of iterates at their best, measured on its test split."""
        found: list[dict[str, StateMetrics]] = []
        for peer in self._peers:
            kept = {name: one for name, one in peer.averages.items() if one.best}
            losses = self._losses([(peer, one.best) for one in kept.values()], "test_WT")
            found.append(
                {
                    name: StateMetrics(
                        round=one.round,
                        merged=False,
                        trust=one.trust,
                        test=perplexity(peer.mean(losses_W, peer.test_WT)),
                        windows=_numbers(losses_W),
                    )
                    for (name, one), losses_W in zip(kept.items(), losses, strict=True)
                }
            )
        return found

    def _average(self, peer: _Peer, snapshot: Content) -> None:
        iterate = decode_snapshot(snapshot.data).adapter
        peer.iterates += 1
        for average in peer.averages.values():
            average.add(iterate, peer.iterates)

    def _judge(self, changed: Sequence[_Peer]) -> None:
        """Measure the averages that changed on their peers' trust splits, and keep the best."""
        both = [(peer, one) for peer in dict.fromkeys(changed) for one in peer.averages.values()]
        losses = self._losses([(peer, one.state) for peer, one in both], "trust_WT")
        for (peer, one), losses_W in zip(both, losses, strict=True):
            trust = peer.mean(losses_W, peer.trust_WT)
            if trust < one.trust:
                one.best, one.trust, one.round = one.state, trust, peer.round

    def _losses(self, asked: Sequence[tuple[_Peer, State]], split: str) -> list[F32]:
        """The loss of each window of a split, for each state of a peer; those of one form of adapter in one pass."""
        losses: dict[int, F32] = {}
        by_fleet: dict[object, list[int]] = {}
        for index, (peer, _) in enumerate(asked):
            by_fleet.setdefault(peer.learner.fleet, []).append(index)
        for members in by_fleet.values():
            # Only reports: these passes are no part of the method's cost.
            jobs = [LossJob((asked[i][1],), getattr(asked[i][0], split), "test") for i in members]
            for i, (losses_W,) in zip(members, asked[members[0]][0].learner.fleet.perform(jobs), strict=True):
                losses[i] = losses_W
        return [losses[index] for index in range(len(asked))]


def _numbers(losses_W: F32) -> tuple[float, ...]:
    return tuple(round(float(loss), 6) for loss in losses_W)
