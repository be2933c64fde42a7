"""Tests of the planner's cases, on curves of a known law."""

from __future__ import annotations

import math
import statistics
from itertools import product

import msgspec
import pytest

from gossipllm.device.plan.law import LAW, Law
from sim.study.planner.cases import DEVICES, NEAR, cases_of, chosen, fitted_law, held_out
from sim.study.planner.curves import BATCHES, FIRST_TOKENS, RATES, WINDOW, Curve, first_of, others_of
from sim.study.planner.table import cases_table, summary

TRUE = Law(critical_tokens=320.0, rate=8e-3, reference_tokens=512.0, power=0.5, noise_power=0.5)
TARGET = 5.0


def curve(text: str, batch: int, rate: float, law: Law) -> Curve:
    """Training that needs `40 (1 + B_crit / B)` steps at the rate of the law, and more at all others."""
    tokens = batch * WINDOW
    away = math.log(rate / law.rate_at(tokens)) ** 2
    steps = 40 * (1 + law.critical_tokens / tokens) * (1 + away)
    points = ((0, 7.0), (math.ceil(steps), TARGET))
    return Curve(text=text, batch=batch, rate=rate, points=points, noise_tokens=law.noise_tokens)


def grid(text: str, law: Law = TRUE) -> list[Curve]:
    return [curve(text, batch, rate, law) for batch, rate in product(BATCHES, RATES)]


NOISES = {"fr": 250.0, "de": 250.0, "it": 4000.0, "en": 8000.0}
TEXTS = tuple(NOISES)
CASES = cases_of(
    [one for text, noise in NOISES.items() for one in grid(text, TRUE.at_noise(noise))],
    dict.fromkeys(TEXTS, TARGET),
    NOISES,
)


def test_cases_are_texts_times_devices() -> None:
    assert [(one.text, one.device) for one in CASES] == list(product(TEXTS, DEVICES))


def test_a_text_whose_grid_lacks_a_curve_has_no_cases() -> None:
    assert cases_of(grid("fr")[1:], {"fr": TARGET}, NOISES) == []


def test_a_law_that_curves_follow_is_found_up_to_what_the_grid_tells_apart() -> None:
    law = fitted_law(CASES)
    assert law.noise_power > 0
    assert max(one.over(*chosen(law, one.device, one.noise_tokens)) for one in CASES) < 1.3
    # Devices and texts between do not tell what holds beyond them: there it may be a few cells beside the best.
    held = held_out(CASES)
    assert statistics.median(one.over for one in held) < 1.2
    assert all(one.over < one.default_over for one in held)


def test_a_case_is_held_against_a_law_that_saw_neither_its_text_nor_its_device() -> None:
    # In Italian all is otherwise.
    other = Law(critical_tokens=2560.0, rate=2e-3, power=0.0, least_tokens=256)
    cases = cases_of(
        [*grid("fr"), *grid("de"), *grid("it", other)],
        dict.fromkeys(("fr", "de", "it"), TARGET),
        dict.fromkeys(("fr", "de", "it"), 250.0),
    )
    italian = [one for one in held_out(cases) if one.case.text == "it"]
    assert len(italian) == len(DEVICES)
    for one in italian:
        seen = [case for case in cases if case.text != "it" and case.device != one.case.device]
        assert one.law == fitted_law(seen)
    assert sum(one.over > NEAR for one in italian) >= 3


def test_a_setting_that_never_came_to_the_target_is_never_near() -> None:
    cut = [
        one if one.batch > 1 else msgspec.structs.replace(one, points=((0, 7.0), (9, 6.0)))
        for one in grid("fr")
    ]
    (phone, *_) = cases_of(cut, {"fr": TARGET}, NOISES)
    assert math.isinf(phone.over(1, 4e-3))
    assert phone.best_s < math.inf


def test_the_best_batch_grows_with_the_knee() -> None:
    batches = [
        min(one.times_s, key=lambda key, times=one.times_s: times[key])[0]
        for one in CASES
        if one.text == "fr"
    ]
    assert batches == sorted(batches)
    assert batches[0] < batches[-1]


def test_the_table_says_what_was_near_and_what_never_came() -> None:
    held = held_out(CASES)
    lines = list(cases_table(held))
    assert len(lines) == 2 + len(held)
    near, *_ = summary(held, CASES)
    counted = sum(one.planner_over <= NEAR for one in held)
    assert f"in {counted} of 16 cases" in near


def test_the_whole_grid_follows_a_first_curve_with_its_target() -> None:
    first = first_of("text.txt", "embedded-small")
    tasks = others_of(first, 5.5)
    assert first.target == 0
    assert first.batch * WINDOW * 24 == FIRST_TOKENS
    assert [(one.batch, one.rates) for one in tasks] == [(batch, RATES) for batch in BATCHES]
    assert {one.target for one in tasks} == {5.5}
    assert len({one.name for one in tasks}) == len(tasks)


@pytest.mark.parametrize("tokens", [64, 1024, 4096])
def test_a_rate_rises_with_the_root_of_the_batch_up_to_the_reference(tokens: int) -> None:
    assert TRUE.rate_at(tokens) == pytest.approx(8e-3 * min(1, tokens / 512) ** 0.5)


@pytest.mark.parametrize(
    "change",
    [{"critical_tokens": 0.0}, {"rate": 0.0}, {"power": 2.0}, {"noise_power": -1.0}, {"least_tokens": 0}],
)
def test_a_law_out_of_bounds_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Law(**change)  # pyright: ignore[reportArgumentType]


def test_no_rate_is_above_that_of_the_law() -> None:
    assert LAW.rate_at(1e12) == LAW.rate
