"""Who of the neighbours is in this round: whom to ask about, whom to wait for, whom to take."""

from __future__ import annotations

from collections.abc import Callable

from gossipllm.work import Weigh
from peers.core.config import CoreConfig
from peers.core.inbox import Entry
from peers.core.neighbourhood import Neighbourhood
from peers.core.stages import Gathering, Member
from trust.evidence import Distance

MAX_DISTANCE = 1e100
"""Beyond this, a distance is as good as infinite; `trust.rows` takes none."""
UNWEIGHED = Distance(0.0, 0.0)
"""For strategies that weigh nobody, and until the answer comes."""


class Gatherer:
    """Reads the neighbourhood, writes the stage."""

    def __init__(self, config: CoreConfig, neighbourhood: Neighbourhood) -> None:
        self._config = config
        self._others = neighbourhood

    def ask(
        self, stage: Gathering, our_round: int, new_request: Callable[[], int], *, fresh_only: bool
    ) -> list[Weigh]:
        """Questions about everybody who is here and was not asked about; what needs no question counts at once."""
        questions: list[Weigh] = []
        for entry in self._others.usable():
            age = self._others.inbox.staleness(entry, our_round)
            if (fresh_only and age > 0) or _asked_about(stage, entry):
                continue
            assert entry.update is not None, "usable entries are complete"
            assert entry.evidence is not None, "usable entries are complete"
            member = Member(entry, entry.update, entry.evidence, age, UNWEIGHED)
            if self._config.learner.evidence == "none":
                stage.weighed[entry.author] = member
                continue
            request = new_request()
            stage.weighing[request] = member
            questions.append(
                Weigh(request=request, author=entry.author, update=member.update, evidence=member.evidence)
            )
        return questions

    def waits(self, stage: Gathering) -> bool:
        """Whether somebody whose news is not weighed yet is worth waiting for."""
        fresh = {author for author, one in stage.weighed.items() if one.age == 0} | stage.declined
        quorum = self._config.round.quorum
        return not (self._others.awaited() <= fresh or (quorum and len(fresh) >= quorum))

    def is_measure(self, distance: Distance) -> bool:
        """Whether rows can be made of it. Only losses may be better than our own, below 0."""
        least = -MAX_DISTANCE if self._config.trust.strategy == "validation" else 0.0
        return least <= distance.mean <= MAX_DISTANCE and 0.0 <= distance.error <= MAX_DISTANCE

    def members(self, stage: Gathering, now: float) -> tuple[Member, ...]:
        """Who was weighed and is still in good standing, the nearest where they are too many, by author."""
        banned = self._others.scores.banned
        here = [one for one in stage.weighed.values() if not banned(one.entry.author, now)]
        nearest = sorted(here, key=lambda one: (one.distance.mean, one.entry.author))
        return tuple(sorted(nearest[: self._config.round.most_partners], key=lambda one: one.entry.author))


def _asked_about(stage: Gathering, entry: Entry) -> bool:
    """Once for each announcement; an author whose content was declined had its turn."""
    member = stage.weighed.get(entry.author)
    return (
        entry.author in stage.declined
        or (member is not None and member.entry is entry)
        or any(one.entry is entry for one in stage.weighing.values())
    )
