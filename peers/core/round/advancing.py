"""The next saved state: before local steps, after them, and after a merge."""

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
from trust.record.history import Guard
from wire.digest import Content


class Advance:
    """Makes each state of the last one, the learner's answer and the neighbourhood."""

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
        """The state after local steps, with its signed announcement. `receivers` (peer -> key) get the shares."""
        importance, measured = self._planner.measured_importance(
            saved.importance, saved.measured, trained.importance
        )
        shares = tuple(share for share in trained.shares if share.peer in receivers)
        plan = saved.plan
        if self._planner.by_block_window:
            plan = self._planner.block_window(saved.round + 1, importance, measured, self._inputs())
        state = msgspec.structs.replace(
            saved,
            generation=saved.generation + 1,
            stage="published",
            snapshot=trained.snapshot,
            update=trained.update,
            evidence=trained.evidence,
            local=self._local(saved, trained),
            standings=self._scores(),
            seats=self._others.seats.rows(),
            heard=self._others.heard_rows(),
            shares=shares,
            tokens_total=saved.tokens_total + trained.tokens,
            samples_total=saved.samples_total + trained.samples,
            importance=importance,
            measured=measured,
            plan=plan,
            course=saved.course.stepped(trained.trust_loss),
            good=self._good(saved, trained.trust_loss),
        )
        extras = AnnouncementExtras(
            offer=trained.offer,
            capacity=self._config.learner.heads.capacity,
            shares=[(receivers[share.peer], share) for share in shares],
            contexts=self._others.fetching.contexts.refs(),
            commits=self._config.commits,
        )
        frame = announcement_frame(
            state, extras, self._keys, net=self._others.terms.net, name=self._config.name, now=now
        )
        return msgspec.structs.replace(state, frame=frame)

    def from_merging(self, saved: Saved, merged: Merged, guard: Guard) -> Saved:
        """The state in which the next round begins. Called before the neighbourhood turns to that round."""
        course, took = saved.course, guard in ("taken", "shrunk")
        if guard == "returned":
            course = course.returned(merged.trust_loss)
        else:
            course = course.ended(merged.trust_loss, merged=took)
        plan, limit = saved.plan, self._config.round.rounds
        rests = 0 < limit <= saved.round + 1
        if self._planner.by_heads:
            plan = self._planner.heads(saved.round, self._inputs())
        return msgspec.structs.replace(
            saved,
            generation=saved.generation + 1,
            round=saved.round + 1,
            stage="training",
            snapshot=merged.snapshot,
            # Served from memory from here on. After a crash neighbours have it, or soon our next update; only after the
            # last round there is no next one.
            update=saved.update if rests else None,
            evidence=saved.evidence if rests else None,
            shares=saved.shares if rests else (),
            standings=self._scores(),
            seats=self._others.seats.rows(),
            heard=self._others.heard_rows(),
            plan=plan,
            course=course,
            good=self._good_after(saved, guard),
        )

    def _good(self, saved: Saved, loss: float) -> Content | None:
        """The last good state after local steps that ended in this loss: None for that of these steps."""
        if not self._config.defence.patience or saved.course.improves(loss):
            return None
        return saved.good or saved.snapshot

    def _good_after(self, saved: Saved, guard: Guard) -> Content | None:
        """The last good state after the round's end: None for the one that the next round begins with."""
        if guard == "returned" or not self._config.defence.patience:
            return None
        return saved.good or (saved.snapshot if guard in ("taken", "shrunk") else None)

    def _local(self, saved: Saved, trained: Trained) -> LocalSteps:
        return LocalSteps(
            tokens=trained.tokens,
            samples=trained.samples,
            steps=trained.steps,
            train_loss=trained.train_loss,
            trust_loss=trained.trust_loss,
            seconds=trained.seconds,
            offered=self._others.terms.offered(trained.offer),
            first_block=saved.plan.first_block,
        )

    def _inputs(self) -> PlanningInputs:
        entries = self._others.lately()
        contexts = self._others.fetching.contexts.within_reach(entries)
        seated = frozenset(self._others.seats.all_seated()) if self._config.confirms else None
        return PlanningInputs(
            entries=entries, weights=self._others.weights, contexts=contexts, trusted=seated
        )

    def _scores(self) -> tuple[SavedScore, ...]:
        return tuple(SavedScore(*row) for row in self._others.scores.rows())
