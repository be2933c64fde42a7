"""Sentences of the page of `trust explain` about trials of neighbours by themselves.

`me` is the short name of the peer, `them` that of the neighbour, `twin` that of the neighbour that stands for it.
"""

from __future__ import annotations

import math
from typing import Final, assert_never

from trust.inspection.explain.page_layout import change_text, error_text
from trust.inspection.explain.trial_document import CourseShown, TrialShown, WeightSteps
from trust.inspection.explain.words import percent
from trust.record.history import LeftOut
from trust.rows.standing import SEAT

_LEAST: Final = 5e-5
"""Difference in nats per token below which two losses print the same."""


def of_left_out(left: LeftOut, me: str, them: str, twin: str) -> str:
    """Why a neighbour was left out of the row."""
    match left:
        case "own":
            return (
                f"{them} was left out: its update or its predictions are nearly those of {me} itself, or of the "
                f"untouched start, so it holds nothing to take."
            )
        case "twin":
            return (
                f"{them} was left out: it is nearly identical to {twin}, which stands for both, because two names do "
                f"not make two weights of one update."
            )
        case "loud":
            return f"{them} was left out: its update is far larger than that of {me}, so it would drown the others."
        case "unbound":
            return (
                f"{them} was left out: the predictions that it published are not those of its update. It lost its "
                f"standing and a part of its score for that."
            )
        case "harmful":
            return f"{them} was left out: by itself it raised {me}'s trust loss."
        case "useless":
            return (
                f"{them} was left out: by itself it did not lower {me}'s trust loss by more than the error of the "
                f"measurement."
            )
        case "paused":
            return (
                f"{them} was not tried: {me} trains alone for a while, because merging had left it worse off than "
                f"training alone."
            )
        case _:
            assert_never(left)


def of_gain(trial: TrialShown, me: str, them: str) -> str:
    """What the neighbour did to the trust loss by itself."""
    if trial.gain is None:
        return f"What {them} does to {me}'s trust loss by itself was not measured in this round."
    at = "" if trial.share is None else f" at a weight of {percent(trial.share)}"
    fell = trial.gain >= 0
    amount = f"{change_text(abs(trial.gain)).lstrip('+')} {error_text(trial.error)}"
    return (
        f"Mixed in by itself{at}, {them} {'lowered' if fell else 'raised'} {me}'s trust loss by {amount} nats per "
        f"token: {100 * abs(math.expm1(-trial.gain)):.2g} % {'less' if fell else 'more'} perplexity on text that {me} "
        f"never trains on."
    )


def of_binding(mismatch: float | None, them: str) -> str:
    """Whether the predictions were held against the update."""
    if mismatch is None:
        return f"{them}'s predictions were not held against its update."
    return (
        f"{them}'s predictions were held against its update on a few rows of the reference text: they differ by "
        f"{mismatch:.3f} (total variation, 0 is equal and 1 is disjoint)."
    )


def of_standing(trial: TrialShown, them: str) -> str:
    seat = "which is a seat" if trial.seat else f"which is no seat yet (a seat takes {SEAT:g})"
    return f"{them} had earned a standing of {trial.standing:.2f} of 1 by gains in earlier rounds, {seat}."


def of_steps(steps: WeightSteps, me: str) -> list[str]:
    """How gains and bounds changed the weight."""
    lines: list[str] = []
    if steps.by_gain != steps.by_evidence:
        counted = (
            "gain, which counts up to the median gain, and by its standing against the median standing, over the "
            "largest product of the two"
            if steps.credited
            else "gain over the largest"
        )
        lines.append(
            f"Evidence alone gives {percent(steps.by_evidence)}. Each neighbour's weight is multiplied by its measured "
            f"{counted}, and {me} keeps the rest, which makes it {percent(steps.by_gain)}."
        )
    bounds: list[str] = []
    if steps.newcomers_bind:
        bounds.append(f"neighbours without a seat get at most {percent(steps.newcomers)} together")
    if steps.own_share_binds:
        bounds.append(f"{me} keeps at least {percent(steps.own_share)} of itself")
    if bounds:
        lines.append(f"By its bounds, {' and '.join(bounds)}, which makes it {percent(steps.bounded)}.")
    return lines


def of_course(course: CourseShown, me: str) -> str:
    """How this peer stands against training alone."""
    behind = course.ahead < 0
    factor = 100 * abs(math.expm1(-course.ahead)) if abs(course.ahead) < 50 else math.inf
    at = f"of about {course.alone:.4f} now (estimated from its own local steps)"
    if abs(course.ahead) < _LEAST:
        return f"Had it always trained alone, {me} would be at a trust loss {at}, which is where it is."
    return (
        f"Had it always trained alone, {me} would be at a trust loss {at}. It is "
        f"{change_text(abs(course.ahead)).lstrip('+')} nats per token "
        f"{'behind' if behind else 'ahead of'} that, {factor:.2g} % {'more' if behind else 'less'} perplexity."
    )


def of_discarded(discarded: float) -> str:
    return (
        f"What was merged is the mixture of the row but for {percent(discarded)} of it (Frobenius norm), which does "
        f"not fit into the adapter's rank."
    )
