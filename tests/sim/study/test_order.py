"""Tests of which cells come first, and of the axes that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from sim.study.axis_effects import effects_of
from sim.study.course import Point
from sim.study.order import corners, fleet_front, middle, next_to_fronts, wanted
from sim.study.settings import AXES, Setting, allowed, chosen_axes, moved
from trust.errors import UserMistake


@dataclass(frozen=True)
class Known:
    course: Sequence[Point]


def ran(tokens: int, *, bytes_: int = 1, loss: float = 4.0) -> Known:
    end = Point(seconds=float(tokens), tokens=tokens, bytes=bytes_, joules=1.0, loss=loss)
    return Known((Point(seconds=0.0, tokens=0, bytes=0, joules=0.0, loss=6.0), end))


def test_corners_have_both_ends_of_each_axis_of_numbers() -> None:
    found = corners(AXES)
    assert len(found) == 8
    assert {one.batch for one in found} == {AXES["batch"][0], AXES["batch"][-1]}
    assert {one.fleet for one in found} == {"equal"}
    assert middle(AXES) not in found


def test_what_is_on_the_front_of_the_first_fleet_is_measured_with_all_others() -> None:
    cells = {Setting(batch=4): ran(100), Setting(batch=1): ran(200)}
    found = wanted(cells, AXES, target=5.0, budget=100)
    assert found == [Setting(batch=4, fleet=fleet) for fleet in AXES["fleet"][1:]]
    known = cells | {one: ran(300) for one in found}
    assert Setting(batch=2, fleet="no-wait") in wanted(known, AXES, target=5.0, budget=100)


def test_what_follows_is_one_step_beside_the_front_of_each_fleet() -> None:
    best, beaten = Setting(batch=4), Setting(batch=1)
    cells = {best: ran(100), beaten: ran(200)}
    assert fleet_front(cells, 5.0) == [best]
    found = next_to_fronts(cells, AXES, target=5.0, budget=100)
    assert set(found) == set(moved(best, {k: v for k, v in AXES.items() if k != "fleet"})) - set(cells)
    assert {one.fleet for one in found} == {"equal"}


def test_where_nothing_came_to_the_target_the_least_loss_is_looked_around() -> None:
    cells = {Setting(batch=4): ran(100, loss=5.5), Setting(batch=1): ran(100, loss=5.4)}
    found = next_to_fronts(cells, AXES, target=3.0, budget=100)
    assert replace(Setting(batch=1), rate=AXES["rate"][0]) in found
    assert replace(Setting(batch=4), rate=AXES["rate"][0]) not in found


def test_a_study_ends_when_nothing_beside_a_front_is_missing() -> None:
    axes = chosen_axes(["batch=1,2", "rate=1e-3", "tokens=512", "schedule=flat", "merge=mean", "fleet=equal"])
    cells = {Setting(batch=one, rate=1e-3, tokens=512, schedule="flat"): ran(one) for one in (1, 2)}
    assert next_to_fronts(cells, axes, target=5.0, budget=1) == []


def test_weights_by_tokens_are_only_measured_where_steps_differ() -> None:
    assert allowed(Setting(merge="nova", fleet="by-speed"))
    assert not allowed(Setting(merge="nova", fleet="wait"))
    assert not allowed(Setting(merge="tokens", fleet="equal"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("merge=mode", "unknown 'mode'; known are mean,"),
        ("batch=two", "'two' is no number"),
        ("batch=0", "values must be above 0"),
        ("speed=1", "wanted AXIS=A,B with an axis of batch,"),
        ("batch", "wanted AXIS=A,B"),
    ],
)
def test_an_axis_that_is_not_known_is_one_line(given: str, why: str) -> None:
    with pytest.raises(UserMistake) as mistake:
        chosen_axes([given])
    assert why in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_numbers_beside_the_known_ones_may_be_given() -> None:
    assert chosen_axes(["batch=16,32", "fleet=wait"]) == AXES | {"batch": (16, 32), "fleet": ("wait",)}


def test_an_effect_is_the_median_over_pairs_that_are_equal_in_all_else() -> None:
    cells = {
        Setting(batch=1, rate=1e-3): ran(100, bytes_=10),
        Setting(batch=2, rate=1e-3): ran(50, bytes_=20),
        Setting(batch=1, rate=4e-3): ran(100, loss=5.9),
        Setting(batch=2, rate=4e-3): ran(100),
        Setting(batch=8, rate=4e-3): ran(1),
    }
    (batch, *_) = effects_of(cells, {"batch": (1, 2)}, 5.0)
    assert (batch.before, batch.after, batch.pairs, batch.faster) == (1, 2, 2, 2)
    # The pair that only came to the target afterwards counts as infinitely better.
    assert batch.ratios == (0.0, 0.0, 0.0, 0.0)
