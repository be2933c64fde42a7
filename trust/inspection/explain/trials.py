"""Reads out of a case what neighbours did by themselves, and what that made of the weight that is explained."""

from __future__ import annotations

import math

from msgspec import UNSET

from trust.inspection.explain.case import Case
from trust.inspection.explain.recomputing import Recomputed
from trust.inspection.explain.trial_document import (
    CourseShown,
    LeftOutShown,
    SharedWeight,
    TrialShown,
    WeightSteps,
)
from trust.names import escaped
from trust.record.history import PeerName, Seen
from trust.rows.standing import has_seat


def trial(case: Case) -> TrialShown | None:
    """The trial of the explained neighbour; None where there was none and it was not left out either."""
    seen = case.seen
    if seen is None or (seen.gain is None and seen.left is None):
        return None
    return TrialShown(
        gain=seen.gain,
        error=seen.gain_error,
        share=(case.begun.share or None) if case.begun else None,
        left=seen.left,
        twin_of=_twin_of(seen),
        mismatch=seen.mismatch or None,
        standing=seen.standing,
        seat=has_seat(seen.standing),
    )


def left_out(case: Case) -> tuple[LeftOutShown, ...]:
    """All neighbours that were left out of the row."""
    return tuple(
        LeftOutShown(
            peer=escaped(seen.peer),
            name=escaped(seen.name),
            left=seen.left,
            twin_of=_twin_of(seen),
            gain=seen.gain,
            error=seen.gain_error,
        )
        for seen in case.record.seen
        if seen.left is not None
    )


def shared_weights(case: Case) -> tuple[SharedWeight, ...]:
    """The groups of neighbours of which one stands for all."""
    groups: dict[PeerName, list[PeerName]] = {}
    for seen in case.record.seen:
        if seen.left == "twin":
            groups.setdefault(escaped(seen.twin_of), []).append(escaped(seen.peer))
    return tuple(SharedWeight(stands=one, others=tuple(others)) for one, others in groups.items())


def weight_steps(case: Case, again: Recomputed) -> WeightSteps | None:
    """The weight before and after gains and bounds; None where the row's candidate cannot be computed again."""
    index, begun = case.index, case.begun
    step = next((one for one in again.candidates if one.temperature == case.record.temperature), None)
    if index is None or begun is None or step is None:
        return None
    return WeightSteps(
        by_evidence=step.by_evidence[index],
        by_gain=step.by_gain[index],
        credited=begun.credit is not UNSET,
        bounded=step.row[index],
        newcomers=begun.newcomers,
        newcomers_bind=_newcomers(case, step.by_gain) > begun.newcomers,
        own_share=begun.own_share,
        own_share_binds=step.row[0] <= begun.own_share and step.by_gain[0] < begun.own_share,
    )


def course(case: Case) -> CourseShown | None:
    """How far ahead of training alone the peer was after its local steps; None where that was not estimated."""
    alone = case.record.alone
    if alone is None or not math.isfinite(alone):
        return None
    return CourseShown(alone=alone, ahead=alone - case.record.trust_alone)


def _newcomers(case: Case, row: tuple[float, ...]) -> float:
    """Joint weight in `row` of the neighbours without a seat."""
    pairs = zip(case.record.seen, row[1:], strict=True)
    return math.fsum(weight for seen, weight in pairs if not has_seat(seen.standing))


def _twin_of(seen: Seen) -> PeerName | None:
    return escaped(seen.twin_of) if seen.left == "twin" else None
