"""Confirming: each neighbour that a row may be over is tried by itself, before any row is made.

Cheap evidence nominates, this peer's own text confirms. A neighbour takes part in the row only where its update, mixed
in by itself, does not raise this peer's trust loss. So one bad neighbour is left out, and the others are merged, where
a guard over whole rows could only refuse them together. Who is left out, and why, stands in the history:

    own         nearly identical to this peer's own adapter or predictions, or to the untouched start: it holds nothing
    twin        nearly identical to another neighbour, which stands for both: the one with more standing, then the one
                heard first, because who copies must have heard
    loud        its product is far larger than this peer's own
    unbound     its predictions are not those of its update; its author pays
    harmful     it raises the trust loss
    useless     it does not lower it by more than the error of the measurement

What is measured also raises and lowers the neighbour's standing (`trust.rows.standing`).

The rows of the predictions that are computed again follow from this peer's signature of the neighbour's announcement.
So they are fixed only after the neighbour has committed itself, no other peer can foretell them, and a replay asks for
the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gossipllm.work import BIND_TOLERANCE, Confirm, Confirmation, Confirmed, Finalist
from peers.core.config import CoreConfig
from peers.core.others.admission import Keys
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.stages import Participant
from trust.record.history import LeftOut
from trust.rows.config import evidence_of
from trust.rows.evidence_kinds import EVIDENCE
from wire.digest import digest_of

LOUDEST: Final = 64.0
"""Norm of a neighbour's product over this peer's own above which it is left out whatever it gains. Guess: far above
what a newcomer sees of peers that have trained for long, whose updates are clipped meanwhile."""

_CHALLENGE: Final = b"gossipllm/challenge/1\0"


class Confirmer:
    def __init__(self, config: CoreConfig, keys: Keys, neighbourhood: Neighbourhood) -> None:
        self._defence = config.defence
        self._keys = keys
        self._others = neighbourhood
        compared = [EVIDENCE[kind].positions for kind in evidence_of(config.trust)]
        self._rows = neighbourhood.terms.rows.rows if "all" in compared or config.distils else 0

    def ask(self, members: Sequence[Participant], new_request: Callable[[], int]) -> Confirm:
        """The question about these neighbours, in the order in which they stand for their twins."""
        return Confirm(
            request=new_request(),
            finalists=tuple(self._finalist(one) for one in self._by_rank(members)),
            share=self._defence.share,
        )

    def judged(self, members: Sequence[Participant], answer: Confirmed) -> tuple[Participant, ...]:
        """The neighbours with what was measured of them, and why they are left out, if they are; sorted by author."""
        ranked = self._by_rank(members)
        if len(answer.results) != len(ranked):
            raise ValueError(f"there must be {len(ranked)} confirmations, got {len(answer.results)}")
        judged = [
            msgspec.structs.replace(
                member,
                standing=self._others.seats.level(member.received.author),
                gain=result.gain,
                gain_error=result.error,
                mismatch=result.mismatch,
                left=self._left(index, result),
                twin_of=ranked[result.twin].received.author if 0 <= result.twin < index else "",
            )
            for index, (member, result) in enumerate(zip(ranked, answer.results, strict=True))
        ]
        return tuple(sorted(judged, key=lambda one: one.received.author))

    def _left(self, index: int, result: Confirmation) -> LeftOut | None:
        if result.twin < 0:
            return "own"
        if result.twin < index:
            return "twin"
        if not result.mismatch <= BIND_TOLERANCE:
            return "unbound"
        if not result.size <= LOUDEST:
            return "loud"
        if not math.isfinite(result.gain) or result.gain < -self._defence.errors * result.error:
            return "harmful"
        return None if result.gain > self._defence.errors * result.error else "useless"

    def _by_rank(self, members: Sequence[Participant]) -> list[Participant]:
        level = self._others.seats.level
        return sorted(
            members,
            key=lambda one: (-level(one.received.author), one.received.arrived, one.received.author),
        )

    def _finalist(self, member: Participant) -> Finalist:
        assert member.update is not None, "a row is over updates"
        return Finalist(
            author=member.received.author,
            update=member.update,
            evidence=member.evidence,
            rows=self._challenge(member.received.frame),
        )

    def _challenge(self, frame: bytes) -> tuple[int, ...]:
        """The rows to compute again: distinct, rising, and not to be foretold by any other peer."""
        count = min(self._defence.bind_rows, self._rows)
        rows: set[int] = set()
        seed = self._keys.sign(_CHALLENGE + digest_of(frame)) if count else b""
        while len(rows) < count:
            seed = digest_of(seed)
            rows.add(int.from_bytes(seed[:8], "little") % self._rows)
        return tuple(sorted(rows))
