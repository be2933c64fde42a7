"""What is saved next: the state that local steps begin in, the one that they lead to, the one that a merge leads to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gossipllm.work import Merged, Trained
from peers.core.config import CoreConfig
from peers.core.events import PeerId
from peers.core.others.admission import Keys
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.announcing import AnnouncementExtras, announcement_frame
from peers.core.round.planning import Planner, PlanningInputs
from peers.core.saved import LocalSteps, Saved, SavedScore


class Advance:
    """Each a new value, made of the last one, the learner's answer, and what is known of the others."""

    def __init__(
        self, config: CoreConfig, keys: Keys, neighbourhood: Neighbourhood, planner: Planner
    ) -> None:
        self._config = config
        self._keys = keys
        self._others = neighbourhood
        self._planner = planner

    def to_training(self, saved: Saved) -> Saved:
        held = self._others.fetching.contexts.held
        return msgspec.structs.replace(saved, plan=self._planner.settled(saved.plan, saved.round, held))

    def from_training(
        self, saved: Saved, trained: Trained, receivers: Mapping[PeerId, bytes], now: float
    ) -> Saved:
        """With its announcement. `receivers` are whom mass was to be pushed to, with their keys."""
        importance, measured = self._planner.learned(saved.importance, saved.measured, trained.importance)
        shares = tuple(share for share in trained.shares if share.peer in receivers)
        plan = saved.plan
        if self._planner.by_window:
            plan = self._planner.window(saved.round + 1, importance, measured, self._around())
        state = msgspec.structs.replace(
            saved,
            generation=saved.generation + 1,
            stage="published",
            snapshot=trained.snapshot,
            update=trained.update,
            evidence=trained.evidence,
            local=self._local(saved, trained),
            standings=self._standings(),
            shares=shares,
            tokens_total=saved.tokens_total + trained.tokens,
            samples_total=saved.samples_total + trained.samples,
            importance=importance,
            measured=measured,
            plan=plan,
        )
        news = AnnouncementExtras(
            offer=trained.offer,
            capacity=self._config.learner.heads.capacity,
            shares=[(receivers[share.peer], share) for share in shares],
            contexts=self._others.fetching.contexts.refs(),
        )
        frame = announcement_frame(
            state, news, self._keys, net=self._others.terms.net, name=self._config.name, now=now
        )
        return msgspec.structs.replace(state, frame=frame)

    def from_merging(self, saved: Saved, merged: Merged) -> Saved:
        """The beginning of the next round. To be asked before the neighbourhood turns to it."""
        plan = saved.plan
        if self._planner.by_heads:
            plan = self._planner.heads(saved.round, self._around())
        return msgspec.structs.replace(
            saved,
            generation=saved.generation + 1,
            round=saved.round + 1,
            stage="training",
            snapshot=merged.snapshot,
            # Served from memory from here on. After a crash others have it, or soon our next one.
            update=None,
            evidence=None,
            shares=(),
            standings=self._standings(),
            plan=plan,
        )

    def _local(self, saved: Saved, trained: Trained) -> LocalSteps:
        return LocalSteps(
            tokens=trained.tokens,
            samples=trained.samples,
            steps=trained.steps,
            train_loss=trained.train_loss,
            trust_loss=trained.trust_loss,
            seconds=trained.seconds,
            offered=self._others.terms.offered(trained.offer),
            window=saved.plan.window,
        )

    def _around(self) -> PlanningInputs:
        entries = self._others.lately()
        contexts = self._others.fetching.contexts.within_reach(entries)
        return PlanningInputs(entries=entries, weights=self._others.weights, contexts=contexts)

    def _standings(self) -> tuple[SavedScore, ...]:
        return tuple(SavedScore(*row) for row in self._others.scores.rows())
