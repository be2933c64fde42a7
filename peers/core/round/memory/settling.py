"""Settling: when this peer goes back to its best state, when it rests, and what wakes it.

`peers.core.plateau` has the arithmetic. A settled peer announces its best state once, in a round without local steps,
and rests: it connects, relays, serves and compares as before, and neither trains nor fetches. An announcement of an
update that took no part in any of its rounds is news. News begins another round without local steps, which gathers,
confirms and merges like any other; the announcement that it makes is the commitment for which neighbours show their
predictions. Where the merge gains, training goes on. Where not, the peer rests again, for twice as long.

What a settled peer announces in a look is the update that its neighbours have weighed already, so it is no news to
them: peers at rest do not wake each other.
"""

from __future__ import annotations

import math
from typing import Final

from peers.core.config import CoreConfig
from peers.core.effects import Log
from peers.core.events import PeerId
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.plateau import GAIN, Plateau
from peers.core.round.learner_supervision import note
from peers.core.round.stages import Participants
from peers.core.saved import Saved
from trust.rows.config import strategy_of
from trust.rows.token_clock import share_at
from wire.bounded import BoundedDict

MOST_KNOWN: Final = 4_096
"""Updates that took part in a round, remembered by digest: four of each author that an inbox holds."""


class Settling:
    """Reads the saved plateau. Which updates are known is forgotten in a restart, and news is then what comes after."""

    def __init__(self, config: CoreConfig, me: PeerId, others: Neighbourhood) -> None:
        self._me = me
        self._config = config.settle
        self._limit = config.round.rounds
        self._length = config.round.network_tokens
        self._others = others
        self._active = config.settles
        self._listens = strategy_of(config.trust).merges
        self._known = BoundedDict[bytes, None](MOST_KNOWN)
        self._not_before = -math.inf
        self._arrived = -1

    def begun(self, plateau: Plateau) -> Plateau:
        """The plateau that a process begins with: a settled peer trains again where its user asks for more rounds than
        when it settled, or has switched settling off."""
        more = self._limit > plateau.limit or not self._active
        return plateau.woken() if plateau.settled and more else plateau

    def due(self, plateau: Plateau) -> bool:
        """Whether this round ends with the best state, after its local steps."""
        return self._active and plateau.spent(self._config)

    def average_from(self, plateau: Plateau, round_: int) -> float | None:
        """The trust loss of the local steps of this round from which on their average is measured (`Train`): where they
        gain nothing and the round before did not either, and in the last round in any case. While each round gains, by
        its steps or by its merge, the average lags behind."""
        if not self._active or not self._config.average:
            return None
        if 0 < self._limit <= round_ + 1:
            return -math.inf
        if plateau.mark is None or not plateau.idle:
            return math.inf
        return plateau.mark - GAIN

    def rate(self, saved: Saved) -> float:
        """Share of the configured learning rate for the local steps of this round: by the plateau, and by the network's
        token clock where a schedule runs over it."""
        share = saved.plateau.rate(self._config) if self._active else 1.0
        return share * share_at(saved.clock, self._length) if self._length else share

    def took_part(self, participants: Participants) -> None:
        """These neighbours were weighed, whatever came of it: their updates are no news any more."""
        for one in (*participants.members, *participants.left):
            if one.update is not None:
                self._known.renew(one.update.digest, None)

    def rest(self, plateau: Plateau, now: float) -> None:
        self._not_before = now + plateau.pause_s
        self._arrived = -1

    def news(self, now: float) -> bool:
        """Whether a resting peer is to look, because a neighbour announced what it has not weighed."""
        inbox = self._others.inbox
        if not self._listens or now < self._not_before or inbox.arrived == self._arrived:
            return False
        self._arrived = inbox.arrived
        return any(
            one.mergeable and not one.refused and one.announcement.update.digest not in self._known
            for one in self._others.lately()
        )

    def told(self, before: Plateau, after: Plateau) -> list[Log]:
        """What the user is told at the end of a round that led from one plateau to the other."""
        if before.settled and not after.settled:
            text = f"news lowered the trust loss by {_fall(before, after):.3f}: training again"
        elif after.settled and not before.settled:
            text = (
                f"settled: {self._nothing_gained()} {_best(after)}, which is announced and exported; trains again when "
                "a neighbour's news lowers the trust loss, its text grows, or it is started with more rounds"
            )
        elif after.lowered > before.lowered:
            share = after.rate(self._config)
            text = f"{self._nothing_gained()} {_best(after)}, and on at {share:.2g} of the learning rate"
        else:
            return []
        return [note(self._me, "info", text)]

    def _nothing_gained(self) -> str:
        rounds = self._config.patience
        return f"the trust loss has not fallen by {GAIN} in {rounds} rounds; back to the best state,"


def _best(plateau: Plateau) -> str:
    test = (
        "" if plateau.least_test is None else f", test perplexity {math.exp(min(plateau.least_test, 50)):.2f}"
    )
    loss = math.nan if plateau.least is None else plateau.least
    average = "the average of its adapters up to round" if plateau.averaged else "of round"
    return f"{average} {plateau.least_round} (trust loss {loss:.4f}{test})"


def _fall(before: Plateau, after: Plateau) -> float:
    return (before.least or 0.0) - (after.least or 0.0)
