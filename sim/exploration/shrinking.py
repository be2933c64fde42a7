"""Makes a failing world smaller: leaves out one part after the other while the same invariant is violated."""

from __future__ import annotations

from sim.exploration.checks.table import Outcome, checked
from sim.exploration.plan import Plan


def shrunk(plan: Plan, invariant: str) -> tuple[tuple[int, ...], Outcome]:
    """Indices of parts that suffice for a violation of `invariant`, and the outcome with these alone.

    Takes one run for each part and round: greedy, from the last part to the first, until none can be left out. The
    result is smallest in the sense that no single part can be left out.
    """
    kept = tuple(range(len(plan.parts)))
    best = checked(plan.with_parts(kept))
    smaller = True
    while smaller:
        smaller = False
        for index in reversed(kept):
            fewer = tuple(one for one in kept if one != index)
            outcome = checked(plan.with_parts(fewer))
            if any(one.invariant == invariant for one in outcome.violations):
                kept, best, smaller = fewer, outcome, True
    return kept, best
