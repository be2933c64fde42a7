"""Commit, then reveal: to whom predictions are shown, and which announcements were made in knowledge of them.

Predictions that are read before one has to answer can be copied: the copy is near to the victim by every distance
between predictions. An announcement is a commitment, because it is signed and names the digests of the update and of
the predictions. So predictions are not part of it; they are shown on request, by two laws.

**Who sees.** This peer shows its predictions, from the moment that their announcement is published, to a peer of which
it holds an announcement that is at most `max_age` rounds old. One commitment buys one look: the announcement must have
come for this peer's present round, or the author must have seen nothing since it came. (A look that overtakes the
asker's own announcement on its way is thus asked for again a moment later.) Predictions of another author that are held
here are shown to a peer whose announcement came after that author's. What was shown once is shown again.

**When it counts.** An announcement that comes after its author has seen the predictions of this peer's present round is
weighed in the next round, against other predictions. So is a second one that comes after they were published, because
a neighbour may have shown them to the author.

Without commitments (`DefenceConfig.commit`) everything that is held here is shown to anybody.

What remains: peers that work together tell each other what they have seen, so one of them can copy what another one was
shown, and everybody can copy the predictions of a round that is over, which are near to those of the next. Both are
claims about an update that does not predict so, which is found by computing a few of them again
(`DefenceConfig.bind_rows`); who copies the update as well is a twin of its author, and shares its weight. A process
that crashes forgets whom it has shown what; the round that it resumes may be judged by what was copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from peers.core.config import CoreConfig
from peers.core.events import PeerId
from peers.core.others.inbox import MAX_AUTHORS, Inbox
from wire.bounded import BoundedDict


@dataclass(frozen=True, slots=True)
class _Look:
    """Which of this peer's predictions a peer saw last, by the round in which they were published, and the number of
    the announcement that it had made."""

    turn: int
    commitment: int


class Showing:
    """Whom this peer has shown its predictions. Only authors in the inbox are, so their number is bounded."""

    def __init__(self, config: CoreConfig, inbox: Inbox) -> None:
        self._commits = config.commits
        self._max_age = config.trust.max_age
        self._inbox = inbox
        self._looks = BoundedDict[PeerId, _Look](MAX_AUTHORS)
        self._own = frozenset[bytes]()
        self._turn = -1
        self._heard_before = 0

    def publish(self, digests: frozenset[bytes]) -> None:
        """The announcement of these predictions, in one form or two, is published. The same ones may be published
        again."""
        if digests == self._own and self._turn == self._inbox.turns:
            return
        self._own, self._turn, self._heard_before = digests, self._inbox.turns, self._inbox.arrived

    def allows(self, digest: bytes, asker: PeerId) -> bool:
        """Whether this peer shows `asker` a blob that it holds."""
        if not self._commits:
            return True
        if digest in self._own:
            return self._may_see_own(asker)
        shown = self._inbox.of_evidence(digest)
        if shown is None or shown.author == asker:
            return True
        commitment = self._inbox.newest_of(asker)
        return commitment is not None and commitment.arrived > shown.arrived

    def note(self, digest: bytes, asker: PeerId) -> None:
        """Remember that `asker` was shown this blob."""
        commitment = self._inbox.newest_of(asker)
        if self._commits and digest in self._own and commitment is not None:
            self._looks.renew(asker, _Look(self._turn, commitment.arrived))

    def too_late(self, author: PeerId) -> bool:
        """Whether an announcement of `author` that comes now may answer the predictions of the present round."""
        if not self._commits or self._turn != self._inbox.turns:
            return False
        look, newest = self._looks.get(author), self._inbox.newest_of(author)
        saw = look is not None and look.turn == self._turn
        return saw or (newest is not None and newest.arrived > self._heard_before)

    def _may_see_own(self, asker: PeerId) -> bool:
        commitment = self._inbox.newest_of(asker)
        if commitment is None or self._inbox.age(commitment) > self._max_age:
            return False
        look = self._looks.get(asker)
        if look is None or look.turn == self._turn or look.commitment < commitment.arrived:
            return True
        return commitment.turn >= self._inbox.turns
