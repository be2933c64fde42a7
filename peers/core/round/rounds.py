"""One round, from local steps to the merge, and again.

    Opened               -> Train                       or, after a crash, back to where the round was
    Trained              -> Store(published)            the signed announcement, on disk before anyone sees it
    Stored               -> Publish, WakeAt(deadline)   not before, whatever happens in between
    a neighbour is here  -> Weigh                       as they come, while we wait
    all here, or too late-> Fit, Evaluate, Merge        the row: `deciding.py`
                         or Absorb                      what was pushed to us, where that takes the place of rows
    Merged               -> Store(training), Report, Train

What is trained next is planned in between (`planning.py`), and saved with the state that it follows from.

There is no barrier, unless one is asked for: the wait ends when everybody who lately announced something has, or
when patience ends, and a peer without neighbours does not wait at all. Rows and merges take whoever is here; the
rest of the mass stays at home.

When the learner dies (`lives.py`), the round goes on from what was last saved. If it died over a merge, it would
die over the same merge again: after `MERGE_TRIES` the round ends alone, so that no neighbour's update can stop us.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gossipllm.work import (
    Declined,
    Evaluated,
    Failed,
    Fitted,
    Merged,
    Opened,
    PushedShare,
    Train,
    Trained,
    Weighed,
)
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Keep, Log, Publish, Stop, Store, WakeAt
from peers.core.events import Deadline, PeerId
from peers.core.others.admission import Keys
from peers.core.others.blobs.pulls import BAD_CONTENT_FINE
from peers.core.others.blobs.shares import BAD_SHARE_FINE
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.deciding import Decider, Step, own_counts
from peers.core.round.disk import Disk
from peers.core.round.gathering import Gatherer
from peers.core.round.learner_supervision import MERGE_TRIES, LearnerSupervision, OpenLearner, note
from peers.core.round.records import begun_record, kept_company, round_record
from peers.core.round.stages import (
    Choosing,
    Fitting,
    Gathering,
    Merging,
    Opening,
    Participants,
    Resting,
    Saving,
    Shrinking,
    Stage,
    Training,
)
from peers.core.saved import Saved, beginning
from wire.digest import Content
from wire.units import check_offered


class Rounds:
    """The round's state machine. Events that do not belong to the present stage change nothing."""

    def __init__(
        self, config: CoreConfig, keys: Keys, neighbourhood: Neighbourhood, saved: Saved | None
    ) -> None:
        self._config = config
        self._keys = keys
        self._others = neighbourhood
        self._gather = Gatherer(config, neighbourhood)
        self._decide = Decider(config, self._new_request)
        self._lives = LearnerSupervision(config, keys, neighbourhood)
        self._saved = saved
        self._request = 0
        self._disk = Disk(keys.peer_id)
        self._shown: tuple[Content, ...] = ()
        self.stage: Stage = Opening(None)

    @property
    def round(self) -> int:
        return self._saved.round if self._saved else 0

    def own_blob(self, digest: bytes) -> Content | None:
        """A blob of the last announcement that we published."""
        shown = next((content for content in self._shown if content.digest == digest), None)
        if shown is None and self._lives.ready is not None:
            return self._others.fetching.contexts.blob(digest)
        return shown

    @property
    def _ready(self) -> OpenLearner:
        ready = self._lives.ready
        assert ready is not None, "nothing is trained before the learner is open"
        return ready

    # -- opening ------------------------------------------------------------------------------------

    def open(self) -> list[Effect]:
        request = self._new_request()
        self.stage = Opening(request)
        return [self._lives.open(request, self._saved)]

    def opened(self, event: Opened, now: float) -> list[Effect]:
        if not isinstance(self.stage, Opening) or event.request != self.stage.request:
            return []
        effects = self._lives.opened(event, self._saved)
        if isinstance(effects, Stop):
            return [effects]
        if self._saved is None:
            self._saved = beginning(event.fingerprints)
        begun = begun_record(self._keys.peer_id, self._config, round_=self.round, opened=event)
        return [*effects, Log(record=begun), *self._resume(now)]

    def lost(self, why: str, now: float) -> list[Effect]:
        """The learner died: say so, pause, and go on from what was last saved."""
        if self.stage == Opening(None) or isinstance(self.stage, Resting):
            return []
        over_merge = isinstance(self.stage, Gathering | Fitting | Choosing | Shrinking | Merging)
        self.stage = Opening(None)
        return self._lives.lost(why, now, round_=self.round, over_merge=over_merge)

    def reopen(self) -> list[Effect]:
        return self.open() if self.stage == Opening(None) else []

    def failed(self, event: Failed, now: float) -> list[Effect]:
        if not self._awaits(event.request):
            return []
        if event.users_fault:
            return [Stop(code=2, why=event.why)]
        return self.lost(event.why, now)

    def _awaits(self, request: int) -> bool:
        match self.stage:
            case Gathering(weighing=weighing):
                return request in weighing
            case Saving() | Resting():
                return False
            case stage:
                return request == stage.request

    def _resume(self, now: float) -> list[Effect]:
        saved = self._saved
        assert saved is not None, "an open learner has a state"
        if saved.stage == "published":
            # What was read from the disk may lack its entry in the list of published rounds; what the learner
            # died over may not have come to the disk at all. Storing it (again) is sure.
            return self._publish(saved, now) if self._disk.holds(saved.generation) else self._store(saved)
        return self._train()

    # -- local steps and the announcement -----------------------------------------------------------

    def _train(self) -> list[Effect]:
        limit = self._config.round.rounds
        if limit and self.round >= limit:
            self.stage = Resting()
            self._others.rest()
            text = f"all {limit} rounds are done; still serving what was learned"
            return [note(self._keys.peer_id, "info", text)]
        assert self._saved is not None, "an open learner has a state"
        saved = self._saved = self._ready.advance.to_training(self._saved)
        planner, contexts = self._ready.planner, self._others.fetching.contexts
        receivers = self._others.receivers(saved.round)
        context = contexts.held.get(planner.context_key(saved.plan) or b"")
        request = self._new_request()
        self.stage = Training(request, receivers, context)
        train = Train(
            request=request,
            round=saved.round,
            steps=self._config.round.steps,
            units=saved.plan.units,
            context=context,
            probe=planner.probes(saved.round),
            receivers=tuple(receivers),
        )
        return [train]

    def trained(self, event: Trained, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Training) or event.request != stage.request:
            return []
        assert self._saved is not None, "training follows opening"
        contexts = self._others.fetching.contexts
        contexts.made(event.contexts)
        if event.context_refused and stage.context is not None:
            contexts.refused(stage.context)
        self._saved = self._ready.advance.from_training(self._saved, event, stage.receivers, now)
        return [*self._lives.told(event.note), *self._store(self._saved)]

    def _store(self, saved: Saved) -> list[Effect]:
        self.stage = Saving(saved.generation)
        return [Store(saved=saved)]

    def stored(self, generation: int, now: float) -> list[Effect]:
        self._disk.stored(generation)
        if self.stage != Saving(generation):
            return []
        assert self._saved is not None, "saving follows training"
        return self._publish(self._saved, now)

    def not_stored(self, generation: int, why: str, now: float) -> list[Effect]:
        return self._disk.not_stored(self._saved, generation, why, now)

    def save_again(self, generation: int) -> list[Effect]:
        return self._disk.save_again(self._saved, generation)

    def _show(self, saved: Saved) -> None:
        """From now on, this announcement is the one that others hear of and fetch from."""
        assert saved.update is not None, "a frame announces an update"
        assert saved.evidence is not None, "a frame announces predictions"
        self._shown = (saved.update, saved.evidence, *(share.content for share in saved.shares))
        self._others.own(saved.frame, check_offered(saved.update.data, self._others.terms.schema))
        self._others.fetching.contexts.want(self._ready.planner.context_key(saved.plan))

    def _publish(self, saved: Saved, now: float) -> list[Effect]:
        assert saved.local is not None, "an announcement follows local steps"
        self._show(saved)
        stage = self.stage = Gathering(since=now)
        publish = Publish(frame=saved.frame)
        if self._lives.spoiled >= MERGE_TRIES:
            text = f"merging stopped the learner {self._lives.spoiled} times; round {self.round} ends alone"
            return [publish, note(self._keys.peer_id, "warning", text), *self._choose(stage, now, alone=True)]
        if saved.round < self._config.round.warmup_rounds:
            return [publish, *self._others.fetching.fetch_context(), *self._choose(stage, now)]
        deadline = WakeAt(at=now + self._gather.patience_s(saved.local), timer=Deadline(round=saved.round))
        return [publish, deadline, *self._others.fetch_missing(), *self.look(now)]

    # -- the neighbours -----------------------------------------------------------------------------

    def deadline(self, round_: int, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering) or round_ != self.round:
            return []
        self.stage.over = True
        return self.look(now)

    def look(self, now: float) -> list[Effect]:
        """Ask about whoever is here and was not asked about; leave when nobody else is worth waiting for."""
        stage = self.stage
        if not isinstance(stage, Gathering):
            return []
        effects: list[Effect] = []
        if not stage.leaving:
            effects += self._gather.ask(stage, self.round, self._new_request, fresh_only=True)
            if not stage.over and self._gather.waits(stage, self.round):
                return effects
            stage.leaving = True
            effects += self._gather.ask(stage, self.round, self._new_request, fresh_only=False)
        return effects if stage.weighing else [*effects, *self._choose(stage, now)]

    def weighed(self, event: Weighed, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering):
            return []
        member = self.stage.weighing.pop(event.request, None)
        if member is None:
            return []
        author, measured = member.entry.author, self._gather.measured(member, event)
        if measured is not None:
            self.stage.weighed[author] = measured
            return self.look(now)
        self.stage.declined.add(author)
        # No fine: it may as well be our own predictions that are no numbers.
        why = f"{_text(event.distances)}, with an error of {_text(event.errors)}"
        return [*self._others.fine(author, "distance", why, 0.0, now), *self.look(now)]

    def declined(self, event: Declined, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering) or event.request not in self.stage.weighing:
            return []
        author = self.stage.weighing.pop(event.request).entry.author
        self.stage.declined.add(author)
        fined = self._others.fine(author, event.field, event.why, BAD_CONTENT_FINE, now)
        return [*fined, *self.look(now)]

    # -- the row, and the merge -----------------------------------------------------------------------

    def _choose(self, stage: Gathering, now: float, *, alone: bool = False) -> list[Effect]:
        saved = self._saved
        assert saved is not None, "gathering follows training"
        assert saved.local is not None, "gathering follows training"
        self._others.inbox.close()
        company = Participants(
            members=self._gather.members(stage, now),
            gathered_s=now - stage.since,
            own_loss=saved.local.trust_loss,
            previous=self._others.weights,
            me=own_counts(saved, saved.local, self._config.trust),
            shares=() if alone else self._others.shares(now),
        )
        return self._step(self._decide.begin(company))

    def fitted(self, event: Fitted) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Fitting) or event.request != stage.request:
            return []
        return self._step(self._decide.fitted(stage, event))

    def evaluated(self, event: Evaluated) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Choosing | Shrinking) or event.request != stage.request:
            return []
        return self._step(self._decide.evaluated(stage, event))

    def _step(self, step: Step) -> list[Effect]:
        self.stage, question = step
        return [question]

    def merged(self, event: Merged, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Merging) or event.request != stage.request:
            return []
        assert self._saved is not None, "merging follows training"
        assert self._saved.local is not None, "merging follows training"
        if stage.choice.guard in ("taken", "shrunk") and not math.isfinite(event.trust_loss):
            self._lives.spoiled = MERGE_TRIES - 1
            return self.lost(f"the merge has a loss of {event.trust_loss}", now)
        self._lives.ended_well()
        refused = self._absorbed(stage.company.shares, event.refused, now)
        record = round_record(self._keys.peer_id, saved=self._saved, stage=stage, merged=event)
        kept = self._kept(self._saved, stage)
        self._saved = self._ready.advance.from_merging(self._saved, event)
        self._others.turn({one.peer: one.weight for one in record.seen}, record.round)
        return [*refused, Log(record=record), *kept, Store(saved=self._saved), *self._train()]

    def _kept(self, saved: Saved, stage: Merging) -> list[Effect]:
        # Where mass is pushed, what came from a neighbour is a share of it and no adapter.
        if not self._config.keep_neighbours or not self._config.learner.rows:
            return []
        company = kept_company(self._keys.peer_id, saved=saved, stage=stage)
        return [Keep(company=company)] if company else []

    def _absorbed(self, shares: Sequence[PushedShare], refused: Sequence[PeerId], now: float) -> list[Effect]:
        """What was pushed to us is taken in, but for what the learner refused."""
        self._others.fetching.arrived.remove(shares)
        effects: list[Effect] = []
        for peer in refused:
            why = "less was pushed than before, or more than there can be"
            effects += self._others.fine(peer, "share", why, BAD_SHARE_FINE, now)
        return effects

    # -- small things -------------------------------------------------------------------------------

    def _new_request(self) -> int:
        self._request += 1
        return self._request


def _text(numbers: Sequence[float]) -> str:
    return " and ".join(f"{number:.3g}" for number in numbers)
