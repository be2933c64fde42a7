"""Why one peer gives another its weight, as data: the JSON document, and what the page is written from.

The types are described outermost last. Numbers that are not finite are null. `schema` rises when a field changes its
meaning or goes; new fields may come without that.
"""

from __future__ import annotations

import msgspec

from trust.record.history import PeerName
from trust.rows.evidence_kinds import Evidence

SCHEMA = 1


class PeerShown(msgspec.Struct, frozen=True, kw_only=True):
    peer: PeerName
    name: str


class RowShare(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the row that was used; the first is the peer's own."""

    peer: PeerName
    name: str
    weight: float


class EvidenceShown(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of evidence of the neighbour: its distance, 0 or below being best, with its standard error (0 where none
    is known), and the same measure of the peer itself. `rank` is 1 for the nearest of `of` neighbours; `nearest`,
    `median` and `farthest` are over these."""

    kind: Evidence
    distance: float
    error: float
    own: float
    rank: int
    of: int
    nearest: float
    median: float
    farthest: float


class TriedCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate: its temperature (null where rows have none), the trust loss of its merge, and what it gives the
    neighbour (null where that cannot be computed again)."""

    temperature: float | None
    trust_loss: float
    weight: float | None
    chosen: bool


class WordAge(msgspec.Struct, frozen=True, kw_only=True):
    """Rounds since the neighbour's word came, and what that multiplies its weight by."""

    rounds: int
    factor: float


class TextClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What the neighbour claims of its text, its share of that of all here by its claim, and the share that counts:
    at most `cap` times the median. Weights are multiplied by shares to the power `power`."""

    tokens: int
    samples: int
    claimed_share: float
    share: float
    power: float
    cap: float


class RefusalShown(msgspec.Struct, frozen=True, kw_only=True):
    """`round` is the one that was being made at `at_s`, Unix time."""

    round: int
    at_s: float
    field: str
    why: str


class WeightChangeShown(msgspec.Struct, frozen=True, kw_only=True):
    """`weight` is null in a round in which the neighbour did not take part."""

    round: int
    weight: float | None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The weight computed again from what is recorded, null where `why` says that it cannot be."""

    weight: float | None
    difference: float | None
    agrees: bool | None
    why: str


class StrategyProposal(msgspec.Struct, frozen=True, kw_only=True):
    """The weight by one strategy, before the guard. Where several temperatures would have been tried and nobody
    measured which does best, `weight` is null, and lies from `lowest` to `highest`. `trust_loss` is the merge's, where
    measured. All null where `why` says why that is unknown."""

    strategy: str
    form: str
    in_use: bool
    weight: float | None = None
    lowest: float | None = None
    highest: float | None = None
    trust_loss: float | None = None
    why: str = ""


class LeaveOneOut(msgspec.Struct, frozen=True, kw_only=True):
    """The trust loss of the row as it was used, and without the neighbour: its weight kept at home, or spread over the
    others in proportion. Errors are standard errors of the difference to the first. All null where `why` says why that
    is unknown."""

    as_used: float | None = None
    kept_at_home: float | None = None
    kept_at_home_error: float | None = None
    spread: float | None = None
    spread_error: float | None = None
    why: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document: why `peer` gives `neighbour` the weight `weight` in `round`. Where they are the same, it is
    about the peer's own weight. `took_part` says whether the neighbour did, in this round; where it did not, `last_met`
    is the last round before in which it did. `rank` is 1 for the largest weight of a neighbour."""

    schema: int = SCHEMA
    round: int
    peer: PeerShown
    neighbour: PeerShown
    weight: float
    rank: int | None
    row: tuple[RowShare, ...]
    took_part: bool
    its_round: int | None
    last_met: int | None
    strategy: str
    form: str
    settings: dict[str, object] | None
    program: str
    evidence: tuple[EvidenceShown, ...]
    temperature: float | None
    tried: tuple[TriedCandidate, ...]
    trust_alone: float
    trust_merged: float
    age: WordAge | None
    text: TextClaim | None
    guarded: bool
    guard: str
    halvings: int | None
    absorbed: int
    refusals: tuple[RefusalShown, ...]
    refusals_in_all: int
    history: tuple[WeightChangeShown, ...]
    check: Check
    strategies: tuple[StrategyProposal, ...]
    without: LeaveOneOut
