"""Budgets: how much of this peer's time, memory and history other peers may take, in one table.

Identities cost nothing, so no limit here counts by identity alone. A limit counts by *source*: the address group of the
connection that something came by, or the connection itself where its group is not known. Beside it stands a limit in
total, because addresses cost little. What exceeds a budget is ignored and not marked as seen, so it may come again
later and from others; no peer is fined for it below twice the burst, and none for what an honest peer could pass on.

Limits of sizes and numbers stand beside what they bound: `inbox.MAX_AUTHORS`, `admission.MAX_AUTHORS`,
`seats.MAX_STANDINGS`, `scores.MAX_PEERS`, `awaiting.MAX_VAIN`, `greetings.MAX_MET`, `pulls.MAX_OPEN`; the network's
own limits in `peers/net/limits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire.bounded import BoundedDict

MAX_SOURCES: Final = 1_000
"""Sources whose use of a budget is remembered; the one that used it longest ago is forgotten first. Each is an address
group that was connected, so to have more costs an attacker addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`burst` at once, `per_second` sustained."""

    burst: float
    per_second: float

    def __post_init__(self) -> None:
        if not self.burst >= 1:
            raise ValueError(f"burst must be at least 1, got {self.burst}")
        if not self.per_second > 0:
            raise ValueError(f"per_second must be above 0, got {self.per_second}")


ANNOUNCEMENTS_OF_AUTHOR: Final = Budget(burst=50, per_second=5)
"""Announcements of one author, in whatever way they come. Guess: a round of less than a fifth of a second trains
nothing."""

ANNOUNCEMENTS_OF_SOURCE: Final = Budget(burst=2_000, per_second=50)
"""Announcements from one source, each of which may cost a check of a signature (0.15 ms, a Raspberry Pi 0.8 ms). What a
connected author says of itself and what seated authors say is not counted, so that a neighbour that passes on a flood
is still heard. The burst lets pass what a thousand peers announce when a partition heals."""

NEW_AUTHORS_OF_SOURCE: Final = Budget(burst=100, per_second=10 / 60)
"""Authors never heard of before, from one source. A connection to a network of a hundred peers tells of all at once,
and eight connections of eight hundred."""

NEW_AUTHORS: Final = Budget(burst=1_000, per_second=1)
"""The same in total, without authors that are connected themselves. The burst fills the inbox once."""

NEW_AUTHORS_FINED: Final = Budget(burst=2_000, per_second=2)
"""New authors from one source above which it is fined for each: twice `NEW_AUTHORS`, which is the most that an honest
peer passes on."""

BAD_CONTENT_OF_SOURCE: Final = Budget(burst=20, per_second=1 / 30)
"""Announcements with malformed predictions inside above which their source is fined too. Peers of the author's base
check them before they pass them on; a source of another base cannot, and is never fined for them."""

GREETINGS_OF_PEER: Final = Budget(burst=8, per_second=0.2)
"""Greetings of one peer that are answered. An answer takes up to 250 kB. Neighbours compare every 30 s, and on each new
connection."""

GREETINGS_OF_SOURCE: Final = Budget(burst=64, per_second=2)
"""The same for all peers of one source: 32 peers behind one address."""

LINES_OF_SOURCE: Final = Budget(burst=3, per_second=1 / 60)
"""Lines in the history for one reason about peers of one source. Three, so that it shows whether peers differ."""

LINES: Final = Budget(burst=600, per_second=600 / 3600)
"""The same in total: below 1 MB in the first hour, at most 700 bytes each."""

FETCHES_OF_AUTHOR: Final = 4
"""Announcements of one author that are fetched between two comparisons (`round.compare_every_s`) or rounds of our own,
whichever is shorter. An author that announces faster than that is fetched from less often, and cannot fill the link."""


class Meter:
    """How much of a budget each source has used. `now` may not run backwards."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._left = BoundedDict[str, tuple[float, float]](MAX_SOURCES)
        """Source -> what is left, as of when."""

    def allows(self, source: str, now: float) -> bool:
        return self._level(source, now) >= 1

    def take(self, source: str, now: float) -> bool:
        """Use one; False, and nothing is used, where less than one is left."""
        level = self._level(source, now)
        if level < 1:
            return False
        self._left.renew(source, (level - 1, now))
        return True

    def _level(self, source: str, now: float) -> float:
        left, at = self._left.get(source, (self._budget.burst, now))
        return min(self._budget.burst, left + max(0.0, now - at) * self._budget.per_second)
