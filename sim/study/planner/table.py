"""What the cases say of the planner, as a table and a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gossipllm.device.plan.law import Law
from sim.study.planner.cases import NEAR, Case, Held, fitted_law


def cases_table(held: Sequence[Held]) -> Iterator[str]:
    yield "| text | device | best of the grid | planner | over | fitted without | over | default over |"
    yield "| --- | --- | --- | --- | ---: | --- | ---: | ---: |"
    for one in held:
        best = min(one.case.times_s, key=lambda key: one.case.times_s[key])
        yield (
            f"| {one.case.text} | {one.case.device} | {_cell(best)} | {_cell(one.planner)} | "
            f"{_over(one.planner_over)} | {_cell(one.chosen)} | {_over(one.over)} | {_over(one.default_over)} |"
        )


def summary(held: Sequence[Held], cases: Sequence[Case]) -> Iterator[str]:
    count = len(held)
    for name, overs in (
        ("the planner as it is, whose law was fitted to such texts", [one.planner_over for one in held]),
        ("laws fitted without the case's text and device", [one.over for one in held]),
        ("the default settings", [one.default_over for one in held]),
    ):
        near = sum(over <= NEAR for over in overs)
        middle = sorted(overs)[count // 2]
        yield (
            f"{name}: within {NEAR - 1:.0%} of the grid's best in {near} of {count} cases, median {_over(middle)} "
            f"times the best, at most {_over(max(overs))}"
        )
    yield f"fitted to all cases: {_law(fitted_law(cases))}"


def _cell(key: tuple[int, float]) -> str:
    return f"{key[0]} at {key[1]:g}"


def _over(times: float) -> str:
    return "never" if math.isinf(times) else f"{times:.2f}"


def _law(law: Law) -> str:
    return (
        f"critical batch {law.critical_tokens:,.0f} tokens, rate {law.rate:g} from {law.reference_tokens:,.0f} tokens "
        f"on, power {law.power:g} below; both at a noise scale of {law.noise_tokens:,.0f} tokens, with whose power "
        f"{law.noise_power:g} they rise"
    )
