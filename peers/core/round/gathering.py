"""Gathering: which neighbours take part in a round, that is whom to ask about, whom to wait for, whom to take."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gossipllm.work import Weigh, Weighed
from peers.core.config import CoreConfig
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.decision.deciding import own_counts
from peers.core.round.stages import Gathering, Participant, Participants
from peers.core.saved import LocalSteps, Saved, announced_of
from trust.rows.evidence import MAX_DISTANCE, Distance
from trust.rows.rows import evidence_of, is_measure

SHORT_ROUND_S = 5.0
"""Least patience however short the local steps were, because announcements take time to travel. Guess."""


class Gatherer:
    """Reads the neighbourhood and updates the Gathering stage."""

    def __init__(self, config: CoreConfig, neighbourhood: Neighbourhood) -> None:
        self._config = config
        self._others = neighbourhood
        # Push-sum needs no evidence: arrived mass must be absorbed, or it is lost to the network.
        self._kinds = () if not config.learner.rows else evidence_of(config.trust)

    def ask(
        self, stage: Gathering, our_round: int, new_request: Callable[[], int], *, fresh_only: bool
    ) -> list[Weigh]:
        """Questions about all complete announcements that were not asked about, of peers of other bases about their
        predictions alone. Where the strategy needs no evidence, they take part at once. `fresh_only` leaves out stale
        ones."""
        questions: list[Weigh] = []
        looked = fresh_only, self._others.inbox.changes, self._others.partners()
        if looked == stage.looked:
            return questions
        stage.looked = looked
        for entry in self._others.usable():
            author = entry.author
            # Once for each announcement. An author whose content was declined is not asked about again this round.
            if stage.asked.get(author) is entry or author in stage.declined:
                continue
            if fresh_only and not self._is_fresh(entry, our_round):
                continue
            old = self._others.inbox.age(entry) > 0
            if entry.mergeable and self._config.learner.sends_start and old:
                # An old update may be in our adapter already. A state may be merged twice, the gain of one round not.
                continue
            stage.asked[author] = entry
            staleness = self._others.inbox.staleness(entry, our_round)
            member = Participant(entry, entry.update, entry.evidence, staleness, byte_rows=entry.byte_rows)
            if not self._kinds:
                stage.weighed[author] = member
                continue
            assert entry.update is not None or entry.comparable, "usable entries are complete"
            request = new_request()
            stage.weighing[request] = member
            questions.append(
                Weigh(
                    request=request,
                    author=author,
                    update=entry.update,
                    evidence=entry.evidence,
                    byte_rows=entry.byte_rows,
                )
            )
        return questions

    def patience_s(self, local: LocalSteps) -> float:
        """Seconds to wait after the announcement, at most `patience_s`: all of it with a barrier, else as long as the
        local steps took, and at least `SHORT_ROUND_S`."""
        most = self._config.round.patience_s
        return most if self._config.round.barrier else min(most, max(SHORT_ROUND_S, local.seconds))

    def waits(self, stage: Gathering, our_round: int) -> bool:
        """Whether to wait on: below the quorum, and for a connected neighbour that is awaited
        (`peers.core.others.awaiting`) and neither freshly weighed nor declined."""
        quorum = self._config.round.quorum
        if quorum > 0 and quorum <= len(self._done(stage, our_round) | stage.declined):
            return False
        # The hottest loop of a round: it ends at the first neighbour that is awaited.
        for peer in self._others.connected:
            if not self._is_done(stage, peer, our_round) and self._others.awaiting.is_awaited(peer):
                return True
        return False

    def end_of_patience(self, stage: Gathering, our_round: int) -> None:
        """Note whom this round waited for in vain."""
        awaited = self._others.awaiting.is_awaited
        here = [peer for peer in self._others.connected if not self._is_done(stage, peer, our_round)]
        self._others.awaiting.waited_in_vain([peer for peer in here if awaited(peer)])

    def _done(self, stage: Gathering, our_round: int) -> set[PeerId]:
        """The freshly weighed neighbours that this round may learn from."""
        return {author for author, one in stage.weighed.items() if self._counts(one, our_round)}

    def _is_done(self, stage: Gathering, peer: PeerId, our_round: int) -> bool:
        """Whether a neighbour is declined, or freshly weighed and of use."""
        if peer in stage.declined:
            return True
        weighed = stage.weighed.get(peer)
        return weighed is not None and self._counts(weighed, our_round)

    def _counts(self, member: Participant, our_round: int) -> bool:
        return member.received.helpful and self._is_fresh(member.received, our_round)

    def measured(self, member: Participant, answer: Weighed) -> Participant | None:
        """The participant with its distances; None where they are not valid measures."""
        if not len(answer.distances) == len(answer.errors) == len(answer.own) == len(self._kinds):
            return None
        pairs = zip(answer.distances, answer.errors, strict=True)
        distances = tuple(Distance(mean, error) for mean, error in pairs)
        good = all(is_measure(kind, one) for kind, one in zip(self._kinds, distances, strict=True))
        if not good or not all(abs(own) <= MAX_DISTANCE for own in answer.own):
            return None
        return msgspec.structs.replace(member, distances=distances, own_measures=answer.own)

    def participants(self, stage: Gathering, saved: Saved, now: float, *, merges: bool) -> Participants:
        """Everybody who takes part in the round of `saved` as it ends. No further update is heard or fetched for it.
        Without `merges` no share is absorbed."""
        local = announced_of(saved).local
        self._others.inbox.close()
        self._others.fetching.close()
        return Participants(
            members=self.members(stage, now),
            foreign=self._foreign(stage, saved.round, now),
            gathered_s=now - stage.since,
            own_loss=local.trust_loss,
            previous=self._others.weights,
            own_counts=own_counts(saved, local, self._config.trust),
            shares=self._others.shares(now) if merges else (),
            round=saved.round,
            local_steps=local.steps,
            merits=saved.merits,
        )

    def _foreign(self, stage: Gathering, our_round: int, now: float) -> tuple[Participant, ...]:
        """Neighbours with other bases: those that were compared, and those that are apart, for the record; at most
        `most_partners` of each, sorted by author."""
        inbox = self._others.inbox
        heard = sorted(inbox.lately(self._config.trust.max_age), key=lambda one: one.author)
        apart = [
            Participant(one, None, None, inbox.staleness(one, our_round))
            for one in heard
            if one.relation == "apart" and not self._others.scores.banned(one.author, now)
        ]
        compared = self._nearest(stage, now, kin=False)
        everybody = (*compared, *apart[: self._config.round.most_partners])
        return tuple(sorted(everybody, key=lambda one: one.received.author))

    def members(self, stage: Gathering, now: float) -> tuple[Participant, ...]:
        """The weighed neighbours of our base that are not banned, at most `most_partners`, sorted by author.

        Where partners were drawn again since some were weighed, the present ones come first, then the nearest: a
        distance may be forged, a place is not.
        """
        return self._nearest(stage, now, kin=True)

    def _nearest(self, stage: Gathering, now: float, *, kin: bool) -> tuple[Participant, ...]:
        banned = self._others.scores.banned
        here = [
            one
            for one in stage.weighed.values()
            if (one.received.relation == "merges") == kin and not banned(one.received.author, now)
        ]
        present = self._others.partners() if self._config.confirms else frozenset[PeerId]()
        here.sort(
            key=lambda one: (
                one.received.author not in present,
                *(each.mean for each in one.distances),
                one.received.author,
            )
        )
        return tuple(sorted(here[: self._config.round.most_partners], key=lambda one: one.received.author))

    def _is_fresh(self, entry: ReceivedAnnouncement, our_round: int) -> bool:
        """Whether it belongs to this round: with a barrier by its author's round counter, else by when it came."""
        if self._config.round.barrier:
            return entry.announcement.round >= our_round
        return self._others.inbox.is_current(entry, our_round)
