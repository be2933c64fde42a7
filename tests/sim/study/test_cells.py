"""Tests of the scenario of a cell: what fleets have in common, and how their rounds go together."""

from __future__ import annotations

import numpy as np
import pytest

from sim.experiments.configurations import core_config
from sim.experiments.methods import method_named
from sim.study.cells import scenario_of, speeds_of, steps_of
from sim.study.settings import FLEETS, MERGINGS, SPEEDS, Setting
from sim.study.study import StudyConfig

STUDY = StudyConfig()
_ONES = np.ones((STUDY.devices, STUDY.devices))


@pytest.mark.parametrize("fleet", FLEETS)
def test_every_fleet_has_one_summed_speed(fleet: str) -> None:
    assert sum(speeds_of(STUDY, FLEETS[fleet])) == pytest.approx(STUDY.devices)


def test_steps_by_speed_make_all_rounds_equally_long() -> None:
    scenario = scenario_of(STUDY, Setting(batch=1, fleet="by-speed"))
    compute = scenario.conditions.compute
    method = method_named(scenario.methods[0])
    steps = [core_config(scenario, method, 0, index, _ONES).round.steps for index in range(scenario.peers)]
    assert steps[3] == pytest.approx(8 * steps[0], rel=0.1)
    lengths = [steps[index] / compute.speed_of(index) for index in range(scenario.peers)]
    assert max(lengths) / min(lengths) < 1.1


@pytest.mark.parametrize("fleet", ["equal", "wait", "by-speed"])
@pytest.mark.parametrize("batch", [1, 8])
def test_all_cells_that_wait_for_all_train_on_the_budget_and_less_than_a_round_more(
    fleet: str, batch: int
) -> None:
    scenario = scenario_of(STUDY, Setting(batch=batch, fleet=fleet))
    tokens = sum(scenario.steps_of(index) * batch * STUDY.window_tokens for index in range(scenario.peers))
    assert STUDY.budget <= tokens < STUDY.budget + tokens / scenario.round.rounds


def test_devices_that_go_on_by_themselves_stop_after_a_time_that_the_budget_needs() -> None:
    scenario = scenario_of(STUDY, Setting(fleet="no-wait"))
    assert not scenario.round.barrier
    assert scenario.round.patience_s == 0
    assert scenario.limit_s > STUDY.budget / STUDY.devices / STUDY.tokens_s


def test_fednova_lengthens_the_move_by_what_unequal_steps_shorten_it() -> None:
    # Wang et al. (2020), eq. 6: tau_eff = sum p tau = 85 / 15, and the mean of the steps is 15 / 4.
    mean, effective = sum(SPEEDS) / 4, sum(one**2 for one in SPEEDS) / sum(SPEEDS)
    assert MERGINGS["nova"].rate == pytest.approx(effective / mean)


@pytest.mark.parametrize("change", [{"devices": 1}, {"budget": 3}, {"tokens_s": 0.0}, {"sources": ()}])
def test_a_study_out_of_bounds_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        StudyConfig(**change)  # pyright: ignore[reportArgumentType]


def test_by_speed_nobody_waits_for_a_step_that_was_rounded_up() -> None:
    """Speeds 1:2:4:8 with eight steps at the mean speed: 2.1, 4.3, 8.5 and 17.1 would fit."""
    assert steps_of(STUDY, Setting(fleet="by-speed", batch=1, tokens=512)) == [2, 4, 8, 16] * 2
