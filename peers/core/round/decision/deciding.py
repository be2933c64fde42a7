"""Deciding: from the participants of a round to one row and its merge.

    push-sum            -> Absorb               all arrived shares: there is no row
    behind              -> Restore              the last good state (`peers.core.course`)
    nothing gained      -> Restore              the best state (`peers.core.plateau`)
    no neighbours       -> Merge                alone: the learner measures the test loss and makes the next snapshot
    with a guard        -> Confirm              each neighbour by itself (`confirming.py`)
    Confirmed           -> as follows, with those that it left
    strategy `learned`  -> Fit                  from the last round's row on
    rows of evidence    -> Evaluate             all of them and keeping everything, on this peer's own trust split
    one row, no guard   -> Merge                as it is: there is no choice
    Fitted              -> Evaluate, or Merge   the fitted row as the only candidate
    Evaluated           -> Merge                the row that the judging windows let pass (`choosing.py`),
                        or Evaluate             again, with rows nearer to keeping everything

Every step is a function of the stage and the answer to it. It gives the next stage, and the question that the stage
waits for.

**Other bases.** A row that is merged is over neighbours of this peer's base. Where this peer distils and neighbours of
other bases are there, the lessons have a row of their own: by the same strategy, over the members of the merge and
those others, at the temperature of the merged row. Nothing that this peer can compute says whether the predictions of
another base are honest. So its neighbours are newcomers for good (`DefenceConfig.newcomers`), and what the lessons do
is undone unless it lowers the trust loss (`gossipllm.learning.distilling`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import msgspec

from gossipllm.work import (
    Absorb,
    Confirmed,
    Evaluate,
    Evaluated,
    Fit,
    Fitted,
    Lesson,
    Merge,
    Request,
    Restore,
)
from peers.core.config import CoreConfig
from peers.core.round.decision.choosing import Choice, alone, judged, shrunk_rows
from peers.core.round.decision.confirming import Confirmer
from peers.core.round.stages import (
    Choosing,
    Confirming,
    Fitting,
    Merging,
    Participant,
    Participants,
    Shrinking,
)
from peers.core.saved import LocalSteps, Saved
from trust.record.history import Guard
from trust.rows.bounds import Row, bounded, by_certainty, by_credit
from trust.rows.certainty import Merits
from trust.rows.config import strategy_of
from trust.rows.priors import believed
from trust.rows.rows import (
    Candidate,
    Counts,
    Neighbour,
    TrustConfig,
    alpha_of,
    candidate_rows,
    starting_row,
    token_weighted,
)
from trust.rows.standing import has_seat
from wire.digest import Content

Step: TypeAlias = tuple[Confirming | Fitting | Choosing | Shrinking | Merging, Request]

SUM_TOLERANCE = 1e-3
"""How far the sum of a learned row may be from 1. Guess: far above the rounding of float32, far below what matters."""


class Decider:
    """Decides by the configuration, which does not change between rounds."""

    def __init__(self, config: CoreConfig, confirmer: Confirmer, new_request: Callable[[], int]) -> None:
        self._config = config
        self._confirmer = confirmer
        self._new_request = new_request
        self._confirms = config.round.guard and config.defence.confirm
        self._alpha = alpha_of(config.trust, config.learner.training.reduction)

    def begin(self, participants: Participants) -> Step:
        if not self._config.learner.rows:
            return self.absorb(participants)
        if not participants.members or not self._confirms:
            return self._propose(participants)
        confirm = self._confirmer.ask(participants.members, self._new_request)
        return Confirming(confirm.request, participants), confirm

    def confirmed(self, stage: Confirming, answer: Confirmed) -> Step:
        """Go on with the neighbours that are not left out."""
        tried = self._confirmer.judged(stage.participants.members, answer)
        participants = replace(
            stage.participants,
            members=tuple(one for one in tried if one.left is None),
            left=tuple(one for one in tried if one.left is not None),
        )
        if participants.members:
            return self._propose(participants)
        return self._merge(participants, Choice(alone(0), None, "refused"), ())

    def restore(self, participants: Participants, state: Content, guard: Guard) -> Step:
        """Go back to an earlier state. Nobody takes part in this round.

        A peer that only gained nothing keeps the average of its adapters, and one that merges harmed does not: they are
        in it.
        """
        request = self._new_request()
        participants = paused(participants)
        choice = Choice(alone(0), None, guard)
        restore = Restore(request=request, snapshot=state, keeps_average=guard == "recalled")
        return Merging(request, participants, choice, ()), restore

    def _propose(self, participants: Participants) -> Step:
        neighbours = [self._neighbour(one, participants) for one in participants.members]
        if not neighbours or not strategy_of(self._config.trust).fitted:
            rows = candidate_rows(self._config.trust, neighbours, participants.own_counts, alpha=self._alpha)
            return self._measure(participants, rows)
        request = self._new_request()
        fit = Fit(
            request=request,
            row=starting_row(participants.previous, neighbours),
            updates=_updates(participants.members),
            steps=self._config.trust.learned_steps,
            rate=self._config.trust.learned_rate,
        )
        return Fitting(request, participants), fit

    def fitted(self, stage: Fitting, answer: Fitted) -> Step:
        """Take the fitted row as the only candidate; refuse one that is no row."""
        participants = stage.participants
        row = _normalised(answer.row, len(participants.members) + 1)
        if row is None:
            return self._merge(participants, Choice(alone(len(participants.members)), None, "refused"), ())
        counts = [participants.own_counts, *(self._counts(one, participants) for one in participants.members)]
        weighted = token_weighted(row, counts, self._config.trust, alpha=self._alpha)
        return self._measure(participants, (Candidate(None, weighted),))

    def evaluated(self, stage: Choosing | Shrinking, answer: Evaluated) -> Step:
        *losses, own_loss = answer.losses
        tried = tuple((one.temperature, loss) for one, loss in zip(stage.candidates, losses, strict=True))
        participants = replace(stage.participants, own_loss=own_loss)
        nobody = alone(len(participants.members))
        choice = judged(stage.candidates, answer, errors=self._config.defence.row_errors)
        if choice is not None and not self._config.round.guard:
            choice = replace(choice, guard="taken")
        if isinstance(stage, Shrinking):
            if choice is None:
                choice = Choice(nobody, None, "refused")
            elif choice.guard == "refused":
                choice = replace(choice, row=nobody, temperature=None)
            else:
                choice = self._certain(replace(choice, guard="shrunk"), participants.merits)
            return self._merge(participants, choice, stage.tried)
        before = participants.merits
        if choice is not None and choice.gain is not None:
            participants = replace(participants, merits=before.after(choice.gain, choice.gain_error))
        if choice is not None and choice.guard == "taken":
            return self._merge(participants, self._certain(choice, before), tried)
        nearer = (*shrunk_rows(stage.candidates, answer.proposed[:-1]), *self._best_alone(participants))
        request = self._new_request()
        return Shrinking(request, participants, nearer, tried), _evaluate(
            request, nearer, participants.members
        )

    def _certain(self, choice: Choice, merits: Merits) -> Choice:
        """The choice as far as its gain is certain beside those of the merges before."""
        if choice.gain is None:
            return choice
        certainty = merits.certainty(choice.gain, choice.gain_error, doubt=self._config.doubt)
        return replace(choice, row=by_certainty(choice.row, certainty), certainty=certainty)

    def _best_alone(self, participants: Participants) -> tuple[Candidate, ...]:
        """The row over the neighbour of largest measured gain, at the weight at which it was measured."""
        gains = [-math.inf if one.gain is None else one.gain for one in participants.members]
        if len(gains) < 2 or not max(gains) > 0:
            return ()
        best = gains.index(max(gains))
        share = self._config.defence.share
        row = self._bounded(
            (1 - share, *(share if index == best else 0.0 for index in range(len(gains)))), participants
        )
        return (Candidate(None, row),)

    def _bounded(self, row: Row, participants: Participants) -> Row:
        defence = self._config.defence
        standings = [one.standing for one in participants.members]
        gains = [one.gain for one in participants.members if one.gain is not None]
        if len(gains) == len(participants.members):
            left = [one.standing for one in participants.left]
            row = by_credit(row, gains, standings, left=left, credit=defence.credit)
        # Without confirmed gains nobody can earn a seat.
        newcomers = defence.newcomers if self._confirms else 1.0
        seated = [has_seat(standing) for standing in standings]
        return bounded(row, seated, newcomers=newcomers, own_share=defence.own_share)

    def absorb(self, participants: Participants) -> Step:
        """Absorb the arrived shares. The round's row keeps everything, because push-sum has no row."""
        choice = Choice(alone(len(participants.members)), None, "taken" if participants.shares else "alone")
        request = self._new_request()
        return Merging(request, participants, choice, ()), Absorb(request=request, shares=participants.shares)

    def _measure(self, participants: Participants, candidates: tuple[Candidate, ...]) -> Step:
        nobody = alone(len(participants.members))
        if self._config.round.guard:
            candidates = _distinct(
                Candidate(one.temperature, self._bounded(one.row, participants)) for one in candidates
            )
        if all(one.row == nobody for one in candidates):
            return self._merge(participants, Choice(nobody, None, "alone"), ())
        if len(candidates) == 1 and not self._config.round.guard:
            (only,) = candidates
            return self._merge(participants, Choice(only.row, only.temperature, "taken"), ())
        request = self._new_request()
        return Choosing(request, participants, candidates), _evaluate(
            request, candidates, participants.members
        )

    def _merge(
        self, participants: Participants, choice: Choice, tried: tuple[tuple[float | None, float], ...]
    ) -> Step:
        request = self._new_request()
        others = zip(choice.row[1:], participants.members, strict=True)
        taken = [(weight, one) for weight, one in others if weight > 0]
        participants = self._with_teachers(participants, choice)
        # Without merges the record shows the row that was chosen, and the learner keeps everything.
        mixed = taken if self._config.merges else []
        merge = Merge(
            request=request,
            row=(choice.row[0], *(weight for weight, _ in mixed)) if self._config.merges else (1.0,),
            updates=_updates([one for _, one in mixed]),
            lessons=_lessons(_teachers(participants) or taken) if self._config.distils else (),
            local_steps=participants.local_steps if self._config.learner.also else 0,
        )
        return Merging(request, participants, choice, tried), merge

    def _with_teachers(self, participants: Participants, choice: Choice) -> Participants:
        """The participants with their weights in the row that is distilled, where other bases have a part in it."""
        others = [one for one in participants.foreign if one.received.relation == "distils"]
        if not others:
            return participants
        everybody = tuple(sorted((*participants.members, *others), key=lambda one: one.received.author))
        neighbours = [self._neighbour(one, participants) for one in everybody]
        rows = candidate_rows(self._config.trust, neighbours, participants.own_counts, alpha=self._alpha)
        warm = rows[len(rows) // 2]
        chosen = next((one for one in rows if one.temperature == choice.temperature), warm)
        row = self._bounded(chosen.row, replace(participants, members=everybody))
        weights = {one.received.author: weight for one, weight in zip(everybody, row[1:], strict=True)}

        def taught(one: Participant) -> Participant:
            return msgspec.structs.replace(one, teaches=weights.get(one.received.author))

        return replace(
            participants,
            members=tuple(map(taught, participants.members)),
            foreign=tuple(map(taught, participants.foreign)),
        )

    def _neighbour(self, member: Participant, participants: Participants) -> Neighbour:
        entry, counts = member.received, self._counts(member, participants)
        return Neighbour(
            entry.author,
            entry.announcement.name,
            member.distances,
            member.own_measures,
            member.staleness,
            *counts,
            participants.round,
            "" if member.byte_rows is None else entry.announcement.fingerprints.base.hex(),
        )

    def _counts(self, member: Participant, participants: Participants) -> Counts:
        announced = member.received.announcement
        claimed = Counts(announced.tokens, announced.samples)
        if self._config.trust.tokens_count == "total":
            claimed = Counts(announced.tokens_total, announced.samples_total)
        return believed(claimed, participants.own_counts) if self._config.confirms else claimed


def _distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Equal rows once, because each costs a measurement."""
    rows: dict[Row, Candidate] = {}
    for one in candidates:
        rows.setdefault(one.row, one)
    return tuple(rows.values())


def paused(participants: Participants) -> Participants:
    """The same round without members: this peer trains alone."""
    resting = tuple(msgspec.structs.replace(one, left="paused") for one in participants.members)
    return replace(participants, members=(), left=(*participants.left, *resting), foreign=())


def own_counts(saved: Saved, local: LocalSteps, trust: TrustConfig) -> Counts:
    """How much text this peer speaks for, by the count that `trust.tokens_count` names."""
    if trust.tokens_count == "total":
        return Counts(saved.tokens_total, saved.samples_total)
    return Counts(local.tokens, local.samples)


def _update(member: Participant) -> Content:
    assert member.update is not None, "a row is over updates"
    return member.update


def _updates(members: Sequence[Participant]) -> tuple[Content, ...]:
    return tuple(_update(one) for one in members)


def _teachers(participants: Participants) -> list[tuple[float, Participant]]:
    """Those with a weight in the row that is distilled; nobody where other bases have no part in it."""
    everybody = (*participants.members, *participants.foreign)
    return [(one.teaches, one) for one in everybody if one.teaches]


def _lessons(taken: Iterable[tuple[float, Participant]]) -> tuple[Lesson, ...]:
    """What to learn from neighbours: members of the row, which were confirmed before it was made, and other bases."""
    found = [(weight, one, one.evidence if one.byte_rows is None else one.byte_rows) for weight, one in taken]
    return tuple(
        Lesson(weight=weight, update=one.update, evidence=said, in_bytes=one.byte_rows is not None)
        for weight, one, said in found
        if said is not None
    )


def _evaluate(request: int, candidates: Sequence[Candidate], members: Sequence[Participant]) -> Evaluate:
    rows = (*(one.row for one in candidates), alone(len(members)))
    return Evaluate(request=request, rows=rows, updates=_updates(members))


def _normalised(weights: Sequence[float], count: int) -> tuple[float, ...] | None:
    """The weights divided by their sum; None where they are not finite, not in [0, 2], or far from summing to 1."""
    total = math.fsum(weights) if all(0 <= weight <= 2 for weight in weights) else math.nan
    if len(weights) != count or not abs(total - 1) <= SUM_TOLERANCE:
        return None
    return tuple(weight / total for weight in weights)
