"""The cases: a text and a device; how long the planner's setting takes there to the text's target, and the grid's best.

The planner is held against cases by which it was not fitted: to neither the text nor the device of a case, in any pair.
The best of a grid is the luckiest of its cells, too, so that the comparison is unkind to the planner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeVar

from gossipllm.device.plan.law import LAW, Law
from gossipllm.device.plan.pace import StepPace
from sim.study.planner.curves import BATCHES, RATES, WINDOW, Curve

DEVICES: Final = {
    "phone": StepPace(0.02, 1 / 150),
    "laptop": StepPace(0.03, 1 / 2_500),
    "integrated GPU": StepPace(0.02, 1 / 20_000),
    "GPU": StepPace(0.02, 1 / 100_000),
}
"""Name -> what a step takes there, up to a factor. The laptop is the machine on which the curves were measured, the
others are guesses; a device counts by its knee of 3, 75, 400 and 2,000 tokens."""
NEAR: Final = 1.1
"""Times the grid's best that count as near it."""
_LOST: Final = 3.0
"""What a setting that never came to the target counts as in a fit, in times the best."""
_LAWS: Final = tuple(
    Law(
        critical_tokens=critical,
        rate=rate,
        reference_tokens=reference,
        power=power,
        noise_power=noise_power,
    )
    for critical, rate, reference, power, noise_power in product(
        (160.0, 320.0, 640.0, 1280.0, 2560.0),
        (2e-3, 4e-3, 8e-3, 1.6e-2),
        (128.0, 256.0, 512.0, 1024.0, 2048.0),
        (0.25, 0.5, 0.75),
        (0.0, 0.25, 0.5, 0.75, 1.0),
    )
)
"""What is tried in a fit."""
_PRIOR: Final = Law(
    critical_tokens=640.0, rate=2e-3, reference_tokens=1024.0, power=0.5, noise_power=1.0, least_tokens=256
)
"""Which of equally good laws is taken: the nearest to what was guessed before any fit. Not the planner's, by which a
case could reach the fit that it is held against."""

T = TypeVar("T", int, float)
Times = Mapping[tuple[int, float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`times_s` has the seconds to the target for each (batch, rate) of the grid; infinite where it never came.
    `noise_tokens` is the noise scale of the text's gradients before any step, 0 where it is not known."""

    text: str
    device: str
    times_s: Times
    noise_tokens: float = 0.0

    @property
    def best_s(self) -> float:
        return min(self.times_s.values())

    def over(self, batch: int, rate: float) -> float:
        """Times the best that this setting takes."""
        return self.times_s[(batch, rate)] / self.best_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A case with the law that was fitted without its text and its device, what that chose, and how it came out; beside
    the planner as it is, and the default settings."""

    case: Case
    law: Law
    chosen: tuple[int, float]
    over: float
    planner: tuple[int, float]
    planner_over: float
    default_over: float


def cases_of(
    curves: Iterable[Curve], targets: Mapping[str, float], noises: Mapping[str, float]
) -> list[Case]:
    """The cases of all texts whose whole grid is known; `noises` are the noise scales of texts, where known."""
    by_text: dict[str, dict[tuple[int, float], Curve]] = {}
    for curve in curves:
        by_text.setdefault(curve.text, {})[(curve.batch, curve.rate)] = curve
    whole = set(product(BATCHES, RATES))
    return [
        Case(
            text=text,
            device=device,
            times_s={
                key: _seconds(curve, targets[text], pace) for key, curve in grid.items() if key in whole
            },
            noise_tokens=noises.get(text, 0.0),
        )
        for text, grid in by_text.items()
        if whole <= set(grid)
        for device, pace in DEVICES.items()
    ]


def chosen(law: Law, device: str, noise_tokens: float) -> tuple[int, float]:
    """The cell of the grid that is nearest to what a law says for a text of this noise scale, by ratio."""
    law = law.at_noise(noise_tokens)
    tokens = max(law.least_tokens, law.batch_tokens(DEVICES[device].knee))
    batch = _nearest(BATCHES, tokens / WINDOW)
    return batch, _nearest(RATES, law.rate_at(batch * WINDOW))


def fitted_law(cases: Sequence[Case]) -> Law:
    """The law of least mean log ratio to the best; of equal ones the nearest to what was guessed."""
    return _best(_scores(cases), range(len(cases)))


def held_out(cases: Sequence[Case]) -> list[Held]:
    """Each case by a law that was fitted to all that share neither its text nor its device."""
    scores = _scores(cases)
    found: list[Held] = []
    for case in cases:
        others = [
            place for place, one in enumerate(cases) if one.text != case.text and one.device != case.device
        ]
        if not others:
            continue
        law = _best(scores, others)
        picked, planner = (chosen(one, case.device, case.noise_tokens) for one in (law, LAW))
        found.append(
            Held(
                case=case,
                law=law,
                chosen=picked,
                over=case.over(*picked),
                planner=planner,
                planner_over=case.over(*planner),
                default_over=case.over(16, 2e-3),
            )
        )
    return found


def _seconds(curve: Curve, target: float, pace: StepPace) -> float:
    steps, tokens = curve.steps_to(target), curve.batch * WINDOW
    return math.inf if steps is None else steps * pace.step_s(tokens, tokens)


def _scores(cases: Sequence[Case]) -> dict[Law, tuple[float, ...]]:
    """For each law that is tried, the log ratio to the best of each case."""
    return {
        law: tuple(
            math.log(min(_LOST, one.over(*chosen(law, one.device, one.noise_tokens)))) for one in cases
        )
        for law in _LAWS
    }


def _best(scores: Mapping[Law, Sequence[float]], places: Sequence[int]) -> Law:
    return min(scores, key=lambda law: (math.fsum(scores[law][place] for place in places), _distance(law)))


def _distance(law: Law) -> float:
    return (
        abs(math.log(law.critical_tokens / _PRIOR.critical_tokens))
        + abs(math.log(law.rate / _PRIOR.rate))
        + abs(math.log(law.reference_tokens / _PRIOR.reference_tokens))
        + abs(law.power - _PRIOR.power)
        + abs(law.noise_power - _PRIOR.noise_power)
    )


def _nearest(values: Sequence[T], wanted: float) -> T:
    return min(values, key=lambda value: abs(math.log(value / wanted)))
