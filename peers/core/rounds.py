"""One round, from local steps to the merge, and again.

    Opened               -> Train                       or, after a crash, back to where the round was
    Trained              -> Store(published)            the signed announcement, on disk before anyone sees it
    Stored               -> Publish, WakeAt(deadline)
    a neighbour is here  -> Weigh                       as they come, while we wait
    all here, or too late-> Evaluate(candidate rows)    measured on our own trust split
    Evaluated            -> Merge(row)                  or once more, nearer to ourselves
    Merged               -> Store(training), Report, Train

There is no barrier: the wait ends when everybody who lately announced something has, or when patience ends, and a
peer without neighbours does not wait at all. Rows and merges take whoever is here; the rest of the mass stays
at home.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from gossipllm.work import (
    Declined,
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Merged,
    Open,
    Opened,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from peers.core.admission import BAD_CONTENT_FINE, Keys, mismatch
from peers.core.choosing import Choice, alone, choice_of, shrunk_rows
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Publish, Report, Stop, Store, WakeAt
from peers.core.events import Deadline, Reopening, SavingAgain
from peers.core.inbox import Entry
from peers.core.neighbourhood import Neighbourhood, Terms
from peers.core.saved import LocalSteps, Saved, Standing
from peers.core.stages import (
    Choosing,
    Gathering,
    Member,
    Merging,
    Opening,
    Resting,
    Saving,
    Shrinking,
    Stage,
    Training,
)
from trust.evidence import Distance
from trust.history import Begun, Note, Round, Seen
from trust.rows import Candidate, candidate_rows
from wire.codec import MAX_INLINE_BYTES, decode_announcement, encode_announcement
from wire.digest import NO_DIGEST, Content
from wire.logits import RowsShape
from wire.messages import Announcement, BlobRef
from wire.tensors import Layout, TensorSpec, check_update

SAVE_AGAIN_S = 5.0
"""Seconds after which a full disk is tried again. Guess."""
MAX_PAUSE_S = 30.0
"""Longest pause before a learner that keeps dying is started again; the first is one second."""


class Rounds:
    """The round's state machine. Events that do not belong to the present stage change nothing."""

    def __init__(
        self, config: CoreConfig, keys: Keys, neighbourhood: Neighbourhood, saved: Saved | None
    ) -> None:
        self._config = config
        self._keys = keys
        self._others = neighbourhood
        self._saved = saved
        self._request = 0
        self._deaths = 0
        self._layout: Layout | None = None
        self.stage: Stage = Opening(None)

    @property
    def round(self) -> int:
        return self._saved.round if self._saved else 0

    def own_blob(self, digest: bytes) -> Content | None:
        """The update or the predictions of our last announcement."""
        if self._saved is None:
            return None
        for content in (self._saved.update, self._saved.evidence):
            if content is not None and content.digest == digest:
                return content
        return None

    # -- opening ------------------------------------------------------------------------------------

    def open(self) -> list[Effect]:
        snapshot = self._saved.snapshot if self._saved else None
        request = self._new_request()
        self.stage = Opening(request)
        return [Open(request=request, config=self._config.learner, snapshot=snapshot)]

    def opened(self, event: Opened, now: float) -> list[Effect]:
        if not isinstance(self.stage, Opening) or event.request != self.stage.request:
            return []
        if self._saved is not None:
            differs = mismatch(self._saved.fingerprints, event.fingerprints)
            if differs is not None:
                field, why = differs
                why = why.replace("theirs", "saved").replace("ours", "now")
                return [Stop(code=2, why=f"the {field} is not the one this home began with: {why}")]
        first = self._layout is None
        self._layout = _layout_of(event)
        rows = RowsShape(rows=event.rows, top=event.top, vocabulary=event.vocabulary)
        terms = Terms.of(self._config.network, event.fingerprints, self._layout, rows)
        effects = self._others.open(terms) if first else []
        if self._saved is None:
            self._saved = _beginning(event)
        return [*effects, Report(record=self._begun(event)), *self._resume(now)]

    def lost(self, why: str, now: float) -> list[Effect]:
        """The learner died: say so, pause, and go on from what was last saved."""
        if isinstance(self.stage, Opening) and self.stage.request is None:
            return []
        pause_s = min(MAX_PAUSE_S, 2.0**self._deaths)
        self._deaths += 1
        self.stage = Opening(None)
        text = f"the learner stopped ({why}); starting it again in {pause_s:.0f} s from round {self.round}"
        return [self._note("warning", text), WakeAt(at=now + pause_s, timer=Reopening())]

    def reopen(self) -> list[Effect]:
        return self.open() if self.stage == Opening(None) else []

    def failed(self, event: Failed, now: float) -> list[Effect]:
        if event.users_fault:
            return [Stop(code=2, why=event.why)]
        return self.lost(event.why, now)

    def _resume(self, now: float) -> list[Effect]:
        saved = self._saved
        assert saved is not None, "an open learner has a state"
        if saved.frame:
            self._show(saved)
        if saved.stage == "published":
            return self._publish(saved, now)
        return self._train()

    # -- local steps and the announcement -----------------------------------------------------------

    def _train(self) -> list[Effect]:
        limit = self._config.round.rounds
        if limit and self.round >= limit:
            self.stage = Resting()
            return [self._note("info", f"all {limit} rounds are done; still serving what was learned")]
        request = self._new_request()
        self.stage = Training(request)
        return [Train(request=request, round=self.round, steps=self._config.round.steps)]

    def trained(self, event: Trained, now: float) -> list[Effect]:
        if not isinstance(self.stage, Training) or event.request != self.stage.request:
            return []
        assert self._saved is not None and self._layout is not None, "training follows opening"
        self._deaths = 0
        frame = self._announcement(self._saved, event, now)
        local = LocalSteps(
            tokens=event.tokens,
            samples=event.samples,
            steps=event.steps,
            train_loss=event.train_loss,
            trust_loss=event.trust_loss,
            seconds=event.seconds,
        )
        self._saved = msgspec.structs.replace(
            self._saved,
            generation=self._saved.generation + 1,
            stage="published",
            snapshot=event.snapshot,
            frame=frame,
            update=event.update,
            evidence=event.evidence,
            local=local,
            standings=self._standings(),
        )
        self.stage = Saving(self._saved.generation)
        return [Store(saved=self._saved)]

    def stored(self, generation: int, now: float) -> list[Effect]:
        if self.stage != Saving(generation):
            return []
        assert self._saved is not None, "saving follows training"
        self._show(self._saved)
        return self._publish(self._saved, now)

    def not_stored(self, generation: int, why: str, now: float) -> list[Effect]:
        note = self._note("error", f"state of round {self.round} is not saved: {why}")
        if self.stage != Saving(generation):
            return [note]
        return [note, WakeAt(at=now + SAVE_AGAIN_S, timer=SavingAgain(generation=generation))]

    def save_again(self, generation: int) -> list[Effect]:
        if self.stage != Saving(generation) or self._saved is None:
            return []
        return [Store(saved=self._saved)]

    def _announcement(self, saved: Saved, event: Trained, now: float) -> bytes:
        previous = decode_announcement(saved.frame).digest if saved.frame else NO_DIGEST
        inline = event.evidence.size <= MAX_INLINE_BYTES
        return encode_announcement(
            Announcement(
                v=1,
                net=self._others.net,
                fingerprints=saved.fingerprints,
                author=self._keys.public_key,
                name=self._config.name,
                round=saved.round,
                previous=previous,
                update=BlobRef(digest=event.update.digest, size=event.update.size),
                evidence=BlobRef(digest=event.evidence.digest, size=event.evidence.size),
                tokens=event.tokens,
                samples=event.samples,
                steps=event.steps,
                capabilities=(),
                sent_at_s=max(0, int(now)),
            ),
            self._keys.sign,
            payload=event.evidence.data if inline else b"",
        )

    def _show(self, saved: Saved) -> None:
        assert saved.update is not None and self._layout is not None, "a frame announces an update"
        self._others.own(saved.frame, check_update(saved.update.data, self._layout))

    def _publish(self, saved: Saved, now: float) -> list[Effect]:
        self.stage = Gathering(since=now)
        deadline = WakeAt(at=now + self._config.round.patience_s, timer=Deadline(round=saved.round))
        return [Publish(frame=saved.frame), deadline, *self._others.fetch_missing(), *self.look(now)]

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
        effects = self._ask(stage, fresh_only=True)
        fresh = sum(1 for one in stage.weighed.values() if one.age == 0) + len(stage.declined)
        if not stage.over and fresh < self._needed():
            return effects
        effects += self._ask(stage, fresh_only=False)
        return effects if stage.weighing else [*effects, *self._choose(stage, now)]

    def weighed(self, event: Weighed, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering):
            return []
        entry = self.stage.weighing.pop(event.request, None)
        if entry is None:
            return []
        self._count_in(self.stage, entry, Distance(event.distance, event.error))
        return self.look(now)

    def declined(self, event: Declined, now: float) -> list[Effect]:
        if not isinstance(self.stage, Gathering) or event.request not in self.stage.weighing:
            return []
        author = self.stage.weighing.pop(event.request).author
        self.stage.declined.add(author)
        fined = self._others.fine(author, event.field, event.why, BAD_CONTENT_FINE, now)
        return [*fined, *self.look(now)]

    def _needed(self) -> int:
        awaited = min(self._others.awaited(), self._config.round.most_partners)
        return min(awaited, self._config.round.quorum or awaited)

    def _ask(self, stage: Gathering, *, fresh_only: bool) -> list[Effect]:
        effects: list[Effect] = []
        for entry in self._others.usable():
            if (fresh_only and entry.age > 0) or _asked_about(stage, entry):
                continue
            if self._config.learner.evidence == "none":
                self._count_in(stage, entry, Distance(0.0, 0.0))
                continue
            assert entry.update is not None and entry.evidence is not None, "usable entries are complete"
            request = self._new_request()
            stage.weighing[request] = entry
            effects.append(
                Weigh(request=request, author=entry.author, update=entry.update, evidence=entry.evidence)
            )
        return effects

    def _count_in(self, stage: Gathering, entry: Entry, distance: Distance) -> None:
        assert entry.update is not None, "usable entries are complete"
        stage.weighed[entry.author] = Member(entry, entry.update, entry.age, distance)

    # -- the row ------------------------------------------------------------------------------------

    def _choose(self, stage: Gathering, now: float) -> list[Effect]:
        members = tuple(stage.weighed[author] for author in sorted(stage.weighed))
        candidates = candidate_rows(
            self._config.trust, [one.distance for one in members], [one.age for one in members]
        )
        gathered_s = now - stage.since
        nobody = alone(len(members))
        if all(one.row == nobody for one in candidates):
            assert self._saved is not None and self._saved.local is not None, "gathering follows training"
            own_loss = self._saved.local.trust_loss
            return self._merge(gathered_s, members, Choice(nobody, None, own_loss, "alone"), own_loss, ())
        request = self._new_request()
        self.stage = Choosing(request, gathered_s, members, candidates)
        return [_evaluate(request, candidates, members)]

    def evaluated(self, event: Evaluated, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Choosing | Shrinking) or event.request != stage.request:
            return []
        *losses, own_loss = event.losses
        tried = tuple((one.temperature, loss) for one, loss in zip(stage.candidates, losses, strict=True))
        guarded = self._config.round.guard
        choice = choice_of(stage.candidates, losses, own_loss if guarded else math.inf)
        if isinstance(stage, Shrinking):
            shrunk = choice and dataclasses.replace(choice, guard="shrunk")
            refused = Choice(alone(len(stage.members)), None, own_loss, "refused")
            return self._merge(stage.gathered_s, stage.members, shrunk or refused, own_loss, stage.tried)
        if choice is not None:
            return self._merge(stage.gathered_s, stage.members, choice, own_loss, tried)
        nearer = shrunk_rows(stage.candidates, losses)
        request = self._new_request()
        self.stage = Shrinking(request, stage.gathered_s, stage.members, nearer, own_loss, tried)
        return [_evaluate(request, nearer, stage.members)]

    # -- the merge ----------------------------------------------------------------------------------

    def _merge(
        self,
        gathered_s: float,
        members: tuple[Member, ...],
        choice: Choice,
        own_loss: float,
        tried: tuple[tuple[float | None, float], ...],
    ) -> list[Effect]:
        request = self._new_request()
        self.stage = Merging(request, gathered_s, members, choice, own_loss, tried)
        taken = [(w, one.update) for w, one in zip(choice.row[1:], members, strict=True) if w > 0]
        row = (choice.row[0], *(weight for weight, _ in taken))
        return [Merge(request=request, row=row, updates=tuple(update for _, update in taken))]

    def merged(self, event: Merged, now: float) -> list[Effect]:
        stage = self.stage
        if not isinstance(stage, Merging) or event.request != stage.request:
            return []
        assert self._saved is not None, "merging follows training"
        record = self._record(stage, event)
        weights = {one.peer: one.weight for one in record.seen}
        self._others.turn(weights, self.round)
        self._saved = msgspec.structs.replace(
            self._saved,
            generation=self._saved.generation + 1,
            round=self.round + 1,
            stage="training",
            snapshot=event.snapshot,
            standings=self._standings(),
        )
        return [Report(record=record), Store(saved=self._saved), *self._train()]

    def _record(self, stage: Merging, event: Merged) -> Round:
        assert self._saved is not None and self._saved.local is not None, "merging follows training"
        local = self._saved.local
        return Round(
            peer=self._keys.peer_id,
            round=self.round,
            self_weight=stage.choice.row[0],
            seen=tuple(
                Seen(
                    peer=one.entry.author,
                    name=one.entry.announcement.name,
                    its_round=one.entry.announcement.round,
                    age=one.age,
                    distance=one.distance.mean,
                    error=one.distance.error,
                    weight=weight,
                    tokens=one.entry.announcement.tokens,
                )
                for one, weight in zip(stage.members, stage.choice.row[1:], strict=True)
            ),
            train_loss=local.train_loss,
            trust_alone=stage.own_loss,
            trust_merged=event.trust_loss,
            test_alone=event.test_alone,
            test_merged=event.test_merged,
            temperature=stage.choice.temperature,
            tried=stage.tried,
            guard=stage.choice.guard,
            tokens=local.tokens,
            samples=local.samples,
            steps=local.steps,
            train_s=local.seconds,
            gather_s=stage.gathered_s,
            merge_s=event.seconds,
            discarded=event.discarded,
        )

    # -- small things -------------------------------------------------------------------------------

    def _new_request(self) -> int:
        self._request += 1
        return self._request

    def _standings(self) -> tuple[Standing, ...]:
        return tuple(Standing(*row) for row in self._others.scores.rows())

    def _note(self, level: Literal["info", "warning", "error"], text: str) -> Report:
        return Report(record=Note(peer=self._keys.peer_id, level=level, text=text[:500]))

    def _begun(self, event: Opened) -> Begun:
        return Begun(
            peer=self._keys.peer_id,
            name=self._config.name,
            round=self.round,
            base=event.fingerprints.base.hex(),
            tokenizer=event.fingerprints.tokenizer.hex(),
            reference=event.fingerprints.reference.hex(),
            layout=event.fingerprints.layout.hex(),
            strategy=self._config.trust.strategy,
            merge=self._config.learner.merge,
            test_loss=event.test_loss,
        )


def _asked_about(stage: Gathering, entry: Entry) -> bool:
    member = stage.weighed.get(entry.author)
    return (
        entry.author in stage.declined
        or (member is not None and member.entry is entry)
        or any(one is entry for one in stage.weighing.values())
    )


def _evaluate(request: int, candidates: Sequence[Candidate], members: Sequence[Member]) -> Evaluate:
    rows = (*(one.row for one in candidates), alone(len(members)))
    return Evaluate(request=request, rows=rows, updates=tuple(one.update for one in members))


def _layout_of(event: Opened) -> Layout:
    return Layout(tuple(TensorSpec(name, shape) for name, shape in event.shapes), event.codec)


def _beginning(event: Opened) -> Saved:
    return Saved(
        generation=0,
        round=0,
        stage="training",
        fingerprints=event.fingerprints,
        snapshot=None,
        frame=b"",
        update=None,
        evidence=None,
        local=None,
        standings=(),
    )
