"""One round, from local steps to the merge, and again.

    Opened                -> Train                       or, after a crash, back to where the round was
    Trained               -> Store(published)            the signed announcement, on disk before any peer sees it
    Stored                -> Publish, WakeAt(deadline)   not before, whatever happens in between
    a neighbour's update  -> Weigh                       as they come, while this peer waits
    all here, or too late -> Confirm                     each neighbour by itself: `decision/confirming.py`
    Confirmed             -> Fit, Evaluate, Merge        the row: `decision/deciding.py`
                          or Restore                     the last good state, or the best: `memory/`
                          or Absorb                      shares that were pushed to this peer, in place of a row
    Merged                -> Log, Keep, Store(training), Train
                          or nothing                     at rest, until news: `memory/settling.py`

`stages.py` has the same as a table of stages. What is trained next is planned in between (`planning.py`), and saved
with the state that it follows from.

There is no barrier unless the configuration asks for one. Gathering ends when patience ends, when the quorum is
reached, or when every connected neighbour that can be expected to announce something (`peers.core.others.awaiting`) has
done so, and its update was fetched and weighed, or declined; and in each case when the last open Weigh is answered. A
peer without neighbours does not wait at all. Rows and merges take the neighbours that are here; the rest of the weight
stays at home.

One announcement for each round, whatever crashes: it is signed once, when training ends; `Store` brings it to the disk
before `Publish` shows it to any peer; and a restart goes on from the newest state on disk, so that it can repeat an
announcement but never make a second one. If the newest state is damaged, the disk's list of announced rounds keeps the
older one from training such a round again (`saved.recovered`). A second process cannot run in the same home, which is
locked.

When the learner dies (`learner_supervision.py`), the round continues from the last saved state. If the learner died
over a merge, it would die over the same merge again: after `MERGE_TRIES` deaths the round ends alone, so that no
neighbour's update can stop this peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from gossipllm.work import (
    Confirmed,
    Declined,
    Evaluated,
    Failed,
    Fitted,
    Merged,
    Opened,
    Train,
    Trained,
    Weighed,
)
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Log, Publish, Stop, Store, WakeAt
from peers.core.events import Deadline, NotStored
from peers.core.others.admission import Keys
from peers.core.others.blobs.pulls import BAD_CONTENT_FINE
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.advancing import Advance
from peers.core.round.decision.confirming import Confirmer
from peers.core.round.decision.deciding import Decider, Step, paused
from peers.core.round.disk import Disk
from peers.core.round.ending import Ending
from peers.core.round.gathering import Gatherer
from peers.core.round.learner_supervision import MERGE_TRIES, LearnerStep, LearnerSupervision, note
from peers.core.round.memory.rereading import Rereading
from peers.core.round.memory.returning import Returning
from peers.core.round.memory.searching import Searching
from peers.core.round.memory.settling import Settling
from peers.core.round.own_blobs import OwnBlobs
from peers.core.round.planning import Planner
from peers.core.round.records import begun_record
from peers.core.round.stages import (
    Choosing,
    Confirming,
    Fitting,
    Gathering,
    Merging,
    Opening,
    Participants,
    Resting,
    Saving,
    Settled,
    Shrinking,
    Stage,
    Training,
)
from peers.core.round.stepping import round_steps
from peers.core.saved import Saved, announced_of
from wire.digest import Content


class Rounds:
    """The round's state machine, of a peer whose learner has been open.

    Events that do not belong to the present stage change no stage and give no effects.
    """

    def __init__(
        self,
        config: CoreConfig,
        keys: Keys,
        neighbourhood: Neighbourhood,
        supervision: LearnerSupervision,
        *,
        planner: Planner,
        saved: Saved,
        new_request: Callable[[], int],
    ) -> None:
        self._config = config
        self._me = keys.peer_id
        self._others = neighbourhood
        self._supervision = supervision
        self._planner = planner
        self._settling = Settling(config, keys.peer_id, neighbourhood)
        self._returning = Returning(config, keys.peer_id, neighbourhood.seats)
        self._searching = Searching(config, keys.peer_id, neighbourhood)
        self._ending = Ending(
            config,
            keys.peer_id,
            neighbourhood,
            returning=self._returning,
            settling=self._settling,
            searching=self._searching,
        )
        self._saved = msgspec.structs.replace(saved, plateau=self._settling.begun(saved.plateau))
        self._new_request = new_request
        self._advance = Advance(config, keys, neighbourhood, planner)
        self._gatherer = Gatherer(config, neighbourhood)
        self._decider = Decider(config, Confirmer(config, keys, neighbourhood), new_request)
        self._disk = Disk(keys.peer_id)
        self._own_blobs = OwnBlobs(neighbourhood, planner)
        self._rereading = Rereading(keys.peer_id)
        self.stage: Stage = Opening(None)

    @property
    def round(self) -> int:
        return self._saved.round

    def own_blob(self, digest: bytes) -> Content | None:
        """A blob of the last published announcement, or a context that this peer offers."""
        return self._own_blobs.blob(digest)

    # -- the learner is open ------------------------------------------------------------------------

    def begin(self, event: Opened, now: float) -> list[Effect]:
        """The learner is open: log it and what it reads, and continue from the saved state."""
        begun = begun_record(self._me, self._config, round_=self.round, opened=event)
        read = [note(self._me, "info", line) for line in event.account]
        self._saved, reread = self._rereading.read(self._saved, event)
        return [Log(record=begun), *read, *reread, *self._resume(now)]

    def text_changed(self) -> list[Effect]:
        """The files of this peer's text changed: open the learner again, at rest at once, else when the round is
        over."""
        self._rereading.wanted = True
        return self._reread() if isinstance(self.stage, Settled) else []

    def _reread(self) -> list[Effect]:
        self.stage = Opening(None)
        return self.reopen()

    def opened(self, event: Opened, now: float) -> list[Effect]:
        if not isinstance(self.stage, Opening) or event.request != self.stage.request:
            return []
        stop = self._supervision.stop_on_mismatch(event, self._saved)
        return [stop] if stop else self.begin(event, now)

    def lost(self, why: str, now: float, *, crash: bool = False) -> list[Effect]:
        """The learner died: log it, pause, and open it again with the last saved state, or stop the peer."""
        if self.stage == Opening(None) or isinstance(self.stage, Resting):
            return []
        if isinstance(self.stage, Settled):
            self.stage = Settled(open=False)
            return []
        step = _step_of(self.stage)
        self.stage = Opening(None)
        return self._supervision.lost(why, now, round_=self.round, step=step, crash=crash)

    def reopen(self) -> list[Effect]:
        if self.stage != Opening(None):
            return []
        request = self._new_request()
        self.stage = Opening(request)
        self._rereading.wanted = False
        return [self._supervision.open(request, self._saved)]

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
            case Saving() | Settled() | Resting():
                return False
            case stage:
                return request == stage.request

    def _resume(self, now: float) -> list[Effect]:
        saved = self._saved
        if saved.stage == "published":
            # A state that was read from the disk may lack its round in the disk's list of announced rounds, if the
            # process died between the two writes, and one that the learner died over may not have reached the disk
            # at all. Storing the same bytes again repairs both.
            return self._publish(saved, now) if self._disk.holds(saved.generation) else self._store(saved)
        return self._train(now)

    # -- local steps and the announcement -----------------------------------------------------------

    def _train(self, now: float) -> list[Effect]:
        limit = self._config.round.rounds
        if limit and self.round >= limit:
            self._rest(Resting())
            done = "the 1 round is" if limit == 1 else f"all {limit} rounds are"
            text = f"{done} done; what was learned is served until this peer ends"
            return [note(self._me, "info", text)]
        if self._rereading.wanted:
            return self._reread()
        if self._saved.plateau.rests:
            self._rest(Settled())
            self._settling.rest(self._saved.plateau, now)
            return []
        self._others.wake()
        self._saved = self._searching.begin(self._saved)
        saved = self._saved = self._advance.to_training(self._saved)
        receivers = self._others.receivers(saved.round)
        context = self._others.fetching.contexts.held.get(self._planner.context_key(saved.plan) or b"")
        request = self._new_request()
        self.stage = Training(request, receivers, context)
        train = Train(
            request=request,
            round=saved.round,
            steps=0 if saved.plateau.settled else round_steps(self._config.round, saved.local),
            units=saved.plan.units,
            context=context,
            probe=self._planner.probes(saved.round),
            receivers=tuple(receivers),
            rate=self._settling.rate(saved),
            average_from=self._settling.average_from(saved.plateau, saved.round),
            byte_rows=self._others.reads_byte_rows(),
        )
        return [train]

    def _rest(self, stage: Settled | Resting) -> None:
        self.stage = stage
        if self._saved.update is not None:
            # After a restart neighbours have not heard of it from this process yet.
            self._own_blobs.show(self._saved)
        self._others.rest()

    def trained(self, event: Trained, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Training) or event.request != stage.request:
            return []
        contexts = self._others.fetching.contexts
        contexts.made(event.contexts)
        if event.context_refused and stage.context is not None:
            contexts.refused(stage.context)
        judged = self._returning.judged(self._saved.course, event.trust_loss)
        self._saved = self._advance.from_training(self._saved, event, stage.receivers, now)
        return [*judged, *self._supervision.noted(event.note), *self._store(self._saved)]

    def _store(self, saved: Saved) -> list[Effect]:
        self.stage = Saving(saved.generation)
        return [Store(saved=saved)]

    def stored(self, generation: int, now: float) -> list[Effect]:
        self._disk.stored(generation)
        if self.stage != Saving(generation):
            return []
        return self._publish(self._saved, now)

    def not_stored(self, event: NotStored, now: float) -> list[Effect]:
        return self._disk.not_stored(self._saved, event, now)

    def save_again(self, generation: int) -> list[Effect]:
        return self._disk.save_again(self._saved, generation)

    def _publish(self, saved: Saved, now: float) -> list[Effect]:
        self._own_blobs.show(saved)
        self._searching.resume(saved)
        stage = self.stage = Gathering(since=now)
        publish = Publish(frame=saved.frame)
        if self._supervision.deaths_after_announcing >= MERGE_TRIES:
            times = self._supervision.deaths_after_announcing
            text = f"merging stopped the learner {times} times; round {self.round} ends alone"
            return [
                publish,
                note(self._me, "warning", text),
                *self._end_gathering(stage, now, merges=False),
            ]
        asks_nobody = self._searching.pauses(saved) and not self._config.round.barrier
        if saved.round < self._config.round.warmup_rounds or asks_nobody:
            return [publish, *self._others.fetching.published(), *self._end_gathering(stage, now)]
        deadline = WakeAt(
            at=now + self._gatherer.patience_s(announced_of(saved).local), timer=Deadline(round=saved.round)
        )
        return [publish, deadline, *self._others.fetching.published(), *self.look(now)]

    # -- the neighbours -----------------------------------------------------------------------------

    def deadline(self, round_: int, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering) or round_ != self.round:
            return []
        if not self.stage.leaving:
            self._gatherer.end_of_patience(self.stage, self.round)
        self.stage.over = True
        return self.look(now)

    def look(self, now: float) -> list[Effect]:
        """Ask about neighbours whose announcements are complete; choose when no other is worth waiting for."""
        stage = self.stage
        if isinstance(stage, Settled):
            return self.look_around(now)
        if not isinstance(stage, Gathering):
            return []
        effects: list[Effect] = []
        if not stage.leaving:
            round_ = self._saved.round
            effects += self._gatherer.ask(stage, round_, self._new_request, fresh_only=True)
            if not stage.over and self._gatherer.waits(stage, round_):
                return effects
            stage.leaving = True
            effects += self._gatherer.ask(stage, round_, self._new_request, fresh_only=False)
        return effects if stage.weighing else [*effects, *self._end_gathering(stage, now)]

    def look_around(self, now: float) -> list[Effect]:
        """A settled peer begins a round without local steps where there is news, and its last look is long enough
        ago."""
        stage = self.stage
        if not isinstance(stage, Settled) or not self._settling.news(now):
            return []
        self._saved = msgspec.structs.replace(self._saved, plateau=self._saved.plateau.looking())
        if stage.open:
            return self._train(now)
        self.stage = Opening(None)
        return self.reopen()

    def weighed(self, event: Weighed, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering):
            return []
        member = self.stage.weighing.pop(event.request, None)
        if member is None:
            return []
        author, measured = member.received.author, self._gatherer.measured(member, event)
        if measured is not None:
            self.stage.weighed[author] = measured
            return self.look(now)
        self.stage.declined.add(author)
        # No fine: the predictions that are not finite may be our own.
        why = f"{_text(event.distances)}, with an error of {_text(event.errors)}"
        return [*self._others.fine(author, "distance", why, 0.0, now), *self.look(now)]

    def declined(self, event: Declined, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering) or event.request not in self.stage.weighing:
            return []
        author = self.stage.weighing.pop(event.request).received.author
        self.stage.declined.add(author)
        fined = self._others.fine(author, event.field, event.why, BAD_CONTENT_FINE, now)
        return [*fined, *self.look(now)]

    # -- the row, and the merge -----------------------------------------------------------------------

    def _end_gathering(self, stage: Gathering, now: float, *, merges: bool = True) -> list[Effect]:
        saved = self._saved
        participants = self._gatherer.participants(stage, saved, now, merges=merges)
        if self._returning.pauses(saved.course):
            participants = paused(participants)
        # A learner that died over going back as well ends the round as it is.
        if merges and self._returning.due(saved.course):
            return self._step(self._decider.restore(participants, saved.good or _snapshot(saved), "returned"))
        if merges and self._settling.due(saved.plateau):
            return self._step(self._decider.restore(participants, saved.best or _snapshot(saved), "recalled"))
        return self._step(self._decider.begin(participants))

    def confirmed(self, event: Confirmed, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Confirming) or event.request != stage.request:
            return []
        if again := self._without_banned(stage.participants, now):
            return again
        step = self._decider.confirmed(stage, event)
        participants = step[0].participants
        effects: list[Effect] = []
        for one in (*participants.members, *participants.left):
            effects += self._others.tried(one.received.author, one.left, now)
        return [*effects, *self._step(step)]

    def fitted(self, event: Fitted, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Fitting) or event.request != stage.request:
            return []
        return self._without_banned(stage.participants, now) or self._step(self._decider.fitted(stage, event))

    def evaluated(self, event: Evaluated, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Choosing | Shrinking) or event.request != stage.request:
            return []
        return self._without_banned(stage.participants, now) or self._step(
            self._decider.evaluated(stage, event)
        )

    def _without_banned(self, participants: Participants, now: float) -> list[Effect]:
        """Decide anew without those who were banned or blocked since the row was begun; nothing where there are none.

        Each costs one more decision at most, so whoever lies in the middle of it voids nobody else's weight.
        """
        banned = self._others.scores.banned
        asked = (*participants.members, *participants.foreign)
        if not any(banned(one.received.author, now) for one in asked):
            return []
        foreign = tuple(one for one in participants.foreign if not banned(one.received.author, now))
        gathered = (*participants.members, *participants.left)
        allowed = [one for one in gathered if not banned(one.received.author, now)]
        members = tuple(sorted(allowed, key=lambda one: one.received.author))
        again = replace(participants, members=members, left=(), foreign=foreign)
        return self._step(self._decider.begin(again))

    def _step(self, step: Step) -> list[Effect]:
        self.stage, question = step
        return [question]

    def merged(self, event: Merged, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Merging) or event.request != stage.request:
            return []
        if stage.choice.guard in ("taken", "shrunk") and not math.isfinite(event.trust_loss):
            # One try is enough: the same row would give the same adapter.
            self._supervision.give_up_merging()
            return self.lost(f"the merge has a loss of {event.trust_loss}", now)
        self._supervision.ended_well()
        refused = self._ending.absorbed(stage.participants.shares, event.refused, now)
        saved, after = self._saved, self._advance.from_merging(self._saved, event, stage.choice.guard)
        asking = self._searching.after(saved, stage, event.distilled)
        after = msgspec.structs.replace(after, asking=asking, merits=stage.participants.merits)
        ended = self._ending.effects(stage, event, saved, after, now)
        self._saved = after
        return [*refused, *ended, Store(saved=after), *self._train(now)]


def _step_of(stage: Stage) -> LearnerStep:
    """What the learner was doing in this stage."""
    match stage:
        case Opening():
            return "opening"
        case Training():
            return "training"
        case _:
            return "merging"


def _snapshot(saved: Saved) -> Content:
    assert saved.snapshot is not None, "a round that ends began with local steps"
    return saved.snapshot


def _text(numbers: Sequence[float]) -> str:
    return " and ".join(f"{number:.3g}" for number in numbers)
