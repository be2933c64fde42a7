"""The JSON document of `trust explain`, from which its page is printed too.

The types stand outermost last. Numbers that are not finite are null. `schema` rises when a field changes its meaning
or goes; new fields may come without that.
"""

from __future__ import annotations

import msgspec

from trust.inspection.explain.trial_document import (
    CourseShown,
    LeftOutShown,
    SharedWeight,
    TrialShown,
    WeightSteps,
)
from trust.record.history import Distilled, PeerName, Relation
from trust.rows.evidence_kinds import Evidence

SCHEMA = 1


class PeerShown(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's id and name, both escaped."""

    peer: PeerName
    name: str


class RowShare(msgspec.Struct, frozen=True, kw_only=True):
    """A weight of the row that was used; the first of a row is the peer's own."""

    peer: PeerName
    name: str
    weight: float


class EvidenceShown(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of evidence about the neighbour.

    `distance` (0 or below is best) has the standard error `error`, 0 where none is known. `own` is the same measure of
    the peer itself. `rank` is 1 for the nearest of `of` neighbours; `nearest`, `median` and `farthest` are the
    distances of these neighbours.
    """

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
    """A candidate row that was tried: its temperature (null for a strategy without one), the trust loss of its merge,
    and the neighbour's weight in it (null where that cannot be computed again)."""

    temperature: float | None
    trust_loss: float
    weight: float | None
    chosen: bool


class WordAge(msgspec.Struct, frozen=True, kw_only=True):
    """Rounds since the neighbour's last announcement, and the factor by which that age multiplies its weight."""

    rounds: int
    factor: float


class TextClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The size of the neighbour's text, as it claims, and what that does to its weight.

    `claimed_share` is its share of the text of all peers in the row; `share` is the share that counts, at most `cap`
    times the median. Weights are multiplied by `share` to the power `power`.
    """

    tokens: int
    samples: int
    claimed_share: float
    share: float
    power: float
    cap: float


class RefusalShown(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal of something from the neighbour, at Unix time `at_s`, while the peer worked on `round`."""

    round: int
    at_s: float
    field: str
    why: str


class WeightChangeShown(msgspec.Struct, frozen=True, kw_only=True):
    """The neighbour's weight in one round; null where it did not take part."""

    round: int
    weight: float | None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The weight computed again from the records, and its difference from the recorded one.

    Both are null where `why` says that the weight cannot be computed.
    """

    weight: float | None
    difference: float | None
    agrees: bool | None
    why: str


class StrategyProposal(msgspec.Struct, frozen=True, kw_only=True):
    """The neighbour's weight by one strategy, before the guard.

    Where several temperatures would have been tried and their losses were not measured, `weight` is null and lies
    between `lowest` and `highest`. `trust_loss` is that of the merge, where measured. All are null where `why` gives
    the reason.
    """

    strategy: str
    form: str
    in_use: bool
    weight: float | None = None
    lowest: float | None = None
    highest: float | None = None
    trust_loss: float | None = None
    why: str = ""


class LeaveOneOut(msgspec.Struct, frozen=True, kw_only=True):
    """Trust losses with and without the neighbour: of the row as it was used, with the neighbour's weight kept by the
    peer itself, and with it spread over the other neighbours in proportion.

    Errors are standard errors of the difference from `as_used`. All are null where `why` gives the reason.
    """

    as_used: float | None = None
    kept_at_home: float | None = None
    kept_at_home_error: float | None = None
    spread: float | None = None
    spread_error: float | None = None
    why: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document: why `peer` gives `neighbour` the weight `weight` in `round`.

    If both are the same peer, the document is about its own weight. `took_part` says whether the neighbour took part in
    this round; if not, `last_met` is the last earlier round in which it did. `rank` is 1 for the neighbour with the
    largest weight. `blocked` is the reason that the peer's owner gave for blocking the neighbour, null where it is not
    blocked now.

    `trial` is null for the peer itself, and where neighbours were not tried by themselves. `left_out` and `shared` are
    about all neighbours of the round. `steps` is null where the row cannot be computed again, `course` where training
    alone was not estimated. `discarded` is the part of the exact mixture that the merge lacks, because its rank is
    bounded: the Frobenius norm of the difference over that of the mixture.

    `judged` is by how much the row that was judged last lowered the loss on the windows that judge merges, with its
    standard error; null where nothing was judged. Of a row that is taken neighbours keep the part `certainty` of their
    weights, because of that error. `fruitless` counts the rounds in a row that asked and brought no
    whole merge, `asks_in` the rounds to come that ask nobody. `distilled` is what distilling after the merge did, null
    where there was none.

    `relation` is what the peer could do with the neighbour's announcement, null for the peer itself and for a neighbour
    that did not take part. Only one that merges is in `row`; another took part by its predictions alone, and `teaches`
    is its weight in the row of those that were distilled. `by_bytes` says that its distance is of byte rows, and the
    others in `evidence` are those of byte rows too.
    """

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
    blocked: str | None = None
    trial: TrialShown | None = None
    left_out: tuple[LeftOutShown, ...] = ()
    shared: tuple[SharedWeight, ...] = ()
    steps: WeightSteps | None = None
    course: CourseShown | None = None
    discarded: float = 0.0
    judged: float | None = None
    judged_error: float = 0.0
    certainty: float = 1.0
    fruitless: int = 0
    asks_in: int = 0
    distilled: Distilled | None = None
    relation: Relation | None = None
    teaches: float | None = None
    by_bytes: bool = False
