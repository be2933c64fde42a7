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
from peers.core.round.memory.remembering import after_end, after_steps
from peers.core.round.planning import Planner, PlanningInputs
from peers.core.saved import LocalSteps, Saved, SavedScore
from trust.record.history import Guard
from trust.rows.token_clock import network_tokens


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
        plan = self._planner.settled(saved.plan, saved.round, held)
        # Later rounds read the clock when the round before ends, and save it: a repeated round is the same.
        clock = saved.clock or self._clock(saved)
        return msgspec.structs.replace(saved, plan=plan, clock=clock)

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
            after_steps(self._config, saved, trained),
            generation=saved.generation + 1,
            stage="published",
            snapshot=trained.snapshot,
            update=trained.update,
            packed=trained.packed,
            evidence=trained.evidence,
            byte_rows=trained.byte_rows,
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
        )
        extras = AnnouncementExtras(
            offer=trained.offer,
            capacity=self._config.learner.heads.capacity,
            shares=[(receivers[share.peer], share) for share in shares],
            contexts=self._others.fetching.contexts.refs(),
            commits=self._config.commits,
            holds=self._others.holds(),
        )
        frame = announcement_frame(
            state, extras, self._keys, net=self._others.terms.net, name=self._config.name, now=now
        )
        return msgspec.structs.replace(state, frame=frame)

    def from_merging(self, saved: Saved, merged: Merged, guard: Guard) -> Saved:
        """The state in which the next round begins. Called before the neighbourhood turns to that round."""
        after = after_end(self._config, saved, merged, guard)
        plan, snapshot, best = saved.plan, merged.snapshot, after.best
        limit = self._config.round.rounds
        ends = 0 < limit <= saved.round + 1
        if ends and best is not None:
            snapshot, best = best, None
        rests = ends or after.plateau.rests
        if self._planner.by_heads:
            plan = self._planner.heads(saved.round, self._inputs())
        return msgspec.structs.replace(
            after,
            generation=saved.generation + 1,
            round=saved.round + 1,
            stage="training",
            snapshot=snapshot,
            best=best,
            # Served from memory from here on. After a crash neighbours have it, or soon our next update; only a peer at
            # rest makes no next one.
            update=saved.update if rests else None,
            packed=saved.packed if rests else (),
            evidence=saved.evidence if rests else None,
            byte_rows=saved.byte_rows if rests else None,
            shares=saved.shares if rests else (),
            standings=self._scores(),
            seats=self._others.seats.rows(),
            heard=self._others.heard_rows(),
            plan=plan,
            clock=self._clock(saved),
        )

    def _clock(self, saved: Saved) -> int:
        """The network's token clock now; it never goes back, whoever leaves or takes a claim back."""
        if not self._config.round.network_tokens:
            return 0
        return max(saved.clock, network_tokens(saved.tokens_total, self._others.token_claims()))

    def _local(self, saved: Saved, trained: Trained) -> LocalSteps:
        """The account of the last local steps: of these, or, where there were none, of those before."""
        if saved.local is not None and not trained.steps:
            return msgspec.structs.replace(
                saved.local,
                steps=0,
                trust_loss=trained.trust_loss,
                seconds=trained.seconds,
                average_loss=None,
            )
        return LocalSteps(
            tokens=trained.tokens,
            samples=trained.samples,
            steps=trained.steps,
            train_loss=trained.train_loss,
            trust_loss=trained.trust_loss,
            seconds=trained.seconds,
            offered=self._others.terms.offered(trained.offer),
            average_loss=None if trained.average is None else trained.average.trust_loss,
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
