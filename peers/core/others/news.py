"""News: is what an announcement names new, or did somebody announce it before?

Every update is the result of local steps on its author's own text, so an honest author never announces the bytes of
another author's. (A crash may repeat the same announcement, which is no second one.) What another author announced in
an earlier round of this peer is a replay. It is passed on like any announcement, but costs no fetch, takes no part in a
round, and its author does not rise by it.

An author may come back to an update of its own: a peer that settles announces its best state, which is an earlier one.
Nothing would be won by refusing that, because whoever changes one number of an old update announces another one.

Two authors may announce the same bytes in one round of this peer. Who is first proves nothing then, because a copy may
travel faster than the original, and whoever is refused might be the author. Both are heard: twins share one place
(`standing/lots.py`) and one weight.

Predictions count as updates do where they are long enough to differ (`LEAST_TELLING`): a few bytes can be equal by
chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from peers.core.events import PeerId
from wire.bounded import BoundedDict
from wire.messages import Announcement, BlobRef

REMEMBERED: Final = 8
"""Announcements of each author that are remembered. Guess: an older update is far from what anybody holds now."""
MAX_DIGESTS: Final = 16_384
"""Digests remembered in all, about 4 MB: a thousand authors with two of each of their announcements."""
MOST_TWINS: Final = 4
"""Authors beside the first that are remembered with a digest. Guess."""
LEAST_TELLING: Final = 256
"""Bytes from which equal predictions are taken for copies. Guess."""


@dataclass(frozen=True, slots=True)
class _First:
    """Who announced a digest first, in its own round and in ours; and who else did in that round of ours."""

    author: PeerId
    round: int
    turn: int
    also: tuple[PeerId, ...] = ()


class News:
    """Digests of the updates and predictions that were announced lately, with their first author."""

    def __init__(self) -> None:
        self._first = BoundedDict[bytes, _First](MAX_DIGESTS)
        self._of = BoundedDict[PeerId, BoundedDict[bytes, None]](MAX_DIGESTS // REMEMBERED)

    def replayed(self, author: PeerId, announcement: Announcement, turn: int) -> tuple[str, str] | None:
        """Take note of an announcement that came in our round `turn`; why it is no news, as (field, why)."""
        known = None
        for field, digest in _digests(announcement):
            first = self._first.get(digest)
            before = self._is_before(first, author, turn)
            if first is not None and before:
                known = known or (field, f"announced before by {first.author} in its round {first.round}")
            elif first is not None:
                self._add(digest, first, author)
            else:
                self._remember(digest, _First(author, announcement.round, turn))
        return known

    def _is_before(self, first: _First | None, author: PeerId, turn: int) -> bool:
        return first is not None and first.turn < turn and author not in (first.author, *first.also)

    def _add(self, digest: bytes, first: _First, author: PeerId) -> None:
        if author not in (first.author, *first.also) and len(first.also) < MOST_TWINS:
            self._first.renew(digest, replace(first, also=(*first.also, author)))

    def _remember(self, digest: bytes, first: _First) -> None:
        self._first.renew(digest, first)
        own = self._of.get(first.author)
        if own is None:
            own = BoundedDict[bytes, None](2 * REMEMBERED)
        self._of.renew(first.author, own)
        if digest not in own and len(own) == 2 * REMEMBERED:
            oldest = next(iter(own))
            held = self._first.get(oldest)
            if held is not None and held.author == first.author:
                del self._first[oldest]
        own.renew(digest, None)


def _digests(announcement: Announcement) -> tuple[tuple[str, bytes], ...]:
    evidence, rows = announcement.evidence, announcement.byte_rows
    digests = (("update.digest", announcement.update.digest),)
    if evidence.size >= LEAST_TELLING:
        digests = (*digests, ("evidence.digest", evidence.digest))
    if isinstance(rows, BlobRef) and rows.size >= LEAST_TELLING:
        digests = (*digests, ("byte_rows.digest", rows.digest))
    return digests
