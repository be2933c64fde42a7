"""The parts of the JSON document of `trust explain` that are about trials of neighbours by themselves."""

from __future__ import annotations

import msgspec

from trust.record.history import LeftOut, PeerName


class TrialShown(msgspec.Struct, frozen=True, kw_only=True):
    """What the neighbour did by itself, before any row was made.

    `gain` is by how many nats per token the trust loss fell when the neighbour was mixed in at the weight `share`
    (null where that was not recorded), and `error` the standard error of the difference; `gain` is null where nothing
    was measured, or the loss was not finite. `left` says why the neighbour was left out of the row, null where it was
    not, and `twin_of` who stands for it where `left` is "twin". `mismatch` is the mean total variation between its
    published predictions and those of its update, 0 to 1; null where they were not held against each other. `standing`
    is what it had earned before this round, 0 to 1, and `seat` whether that makes a seat.
    """

    gain: float | None
    error: float
    share: float | None
    left: LeftOut | None
    twin_of: PeerName | None
    mismatch: float | None
    standing: float
    seat: bool


class LeftOutShown(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour that was left out of the row, why, and its gain as in `TrialShown`."""

    peer: PeerName
    name: str
    left: LeftOut
    twin_of: PeerName | None
    gain: float | None
    error: float


class SharedWeight(msgspec.Struct, frozen=True, kw_only=True):
    """Neighbours that are nearly identical: `stands` may have a weight, for itself and for `others`."""

    stands: PeerName
    others: tuple[PeerName, ...]


class WeightSteps(msgspec.Struct, frozen=True, kw_only=True):
    """The weight that is explained, on its way from evidence to the row, before the guard.

    `by_evidence` is the strategy's weight, `by_gain` the same after neighbours were weighed by their measured gains,
    and by their standing where it is `credited`, `bounded` after the bounds. `newcomers` is the largest joint weight of
    neighbours without a seat, `own_share` the least of the peer itself; `newcomers_bind` and `own_share_binds` say
    whether they changed this row.
    """

    by_evidence: float
    by_gain: float
    credited: bool
    bounded: float
    newcomers: float
    newcomers_bind: bool
    own_share: float
    own_share_binds: bool


class CourseShown(msgspec.Struct, frozen=True, kw_only=True):
    """Training alone: the estimated trust loss that it would have reached after as many local steps, and by how many
    nats per token this peer's own loss after its local steps is lower (`ahead`; below 0 where it is higher)."""

    alone: float
    ahead: float
