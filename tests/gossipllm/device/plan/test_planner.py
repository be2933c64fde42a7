"""The planner against its equations, and against a search of all batches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.device.plan.law import Law
from gossipllm.device.plan.pace import StepPace
from gossipllm.device.plan.planner import (
    LEAST_STEPS,
    RHO,
    WARM_TOKENS,
    Device,
    Form,
    NoPlanError,
    Work,
    planned,
    planned_fleet,
)

WHOLE = Form(name="all blocks", held_bytes=100e6, token_bytes=1e5)
FEWER = Form(name="1 of 4 blocks", held_bytes=50e6, token_bytes=2e4, settings=(("layers.count", 1),))
LAPTOP = Device(
    name="laptop",
    pace=StepPace(0.03, 3e-4),
    memory_bytes=4e9,
    forms=(WHOLE, FEWER),
    watts=15.0,
    link_bytes_s=1e6,
    other_s=0.5,
)
LAW = Law(critical_tokens=640.0, rate=2e-3, reference_tokens=1024.0, power=0.5, least_tokens=256)
WORK = Work(window_tokens=128, update_bytes=3e5, neighbours=4, law=LAW)


def time_to_loss(batch_tokens: float, device: Device, work: Work, at_once: float) -> float:
    """Up to a constant: steps of McCandlish et al. (2018) times the seconds of a step."""
    steps = 1 + work.law.critical_tokens / batch_tokens
    return steps * device.pace.step_s(batch_tokens, at_once)


@given(
    fixed_s=st.floats(1e-4, 10),
    token_s=st.floats(1e-7, 1e-2),
    critical=st.floats(100, 1e6),
    most=st.integers(1, 300),
)
def test_no_other_batch_reaches_a_loss_sooner(
    fixed_s: float, token_s: float, critical: float, most: int
) -> None:
    """Up to half a window of rounding, and but for the least batch."""
    memory = WHOLE.held_bytes + most * 128 * WHOLE.token_bytes
    device = replace(LAPTOP, pace=StepPace(fixed_s, token_s), memory_bytes=memory + 1)
    work = replace(WORK, law=replace(LAW, critical_tokens=critical))
    plan = planned(device, work)
    at_once = most * 128
    mine = time_to_loss(plan.batch_windows * 128, device, work, at_once)
    least = math.ceil(LAW.least_tokens / 128)
    best = min(time_to_loss(n * 128, device, work, at_once) for n in range(least, 3 * most + 3))
    assert mine <= 1.05 * best


@given(most=st.integers(1, 40), fixed_s=st.floats(0, 5))
def test_a_plan_keeps_to_the_memory(most: int, fixed_s: float) -> None:
    memory = WHOLE.held_bytes + most * 128 * WHOLE.token_bytes + 1
    plan = planned(replace(LAPTOP, pace=StepPace(fixed_s, 3e-4), memory_bytes=memory), WORK)
    assert plan.memory_bytes <= memory
    assert plan.micro_windows * plan.accumulation >= plan.batch_windows
    assert plan.micro_windows * (plan.accumulation - 1) < plan.batch_windows


def test_a_device_with_costly_passes_takes_larger_batches_and_rates() -> None:
    gpu = replace(LAPTOP, pace=StepPace(0.02, 1e-6), memory_bytes=80e9)
    small, large = planned(LAPTOP, WORK), planned(gpu, WORK)
    assert small.batch_windows * 128 == LAW.least_tokens
    assert large.batch_windows * 128 == pytest.approx(math.sqrt(640 * 0.02 / 1e-6), abs=64)
    assert small.learning_rate == LAW.rate / 2
    assert large.learning_rate == LAW.rate


def test_gradients_are_accumulated_only_up_to_the_least_batch() -> None:
    tight = replace(LAPTOP, memory_bytes=WHOLE.held_bytes + 1.5 * 128 * WHOLE.token_bytes)
    plan = planned(tight, WORK)
    assert (plan.micro_windows, plan.accumulation, plan.batch_windows) == (1, 2, 2)


def test_less_memory_takes_the_next_form_with_its_settings() -> None:
    plan = planned(replace(LAPTOP, memory_bytes=90e6), WORK)
    assert plan.form is FEWER


def test_without_room_for_a_window_it_says_what_is_missing_and_what_fits() -> None:
    with pytest.raises(
        NoPlanError, match=r"the least, 1 of 4 blocks, takes 53 MB and 51 MB are free, so 2 MB are"
    ) as told:
        planned(replace(LAPTOP, memory_bytes=51e6), WORK)
    assert "windows of 50 tokens would fit" in str(told.value)
    with pytest.raises(NoPlanError, match="a model that takes 7 MB would fit"):
        planned(replace(LAPTOP, memory_bytes=10e6), WORK)


@given(other_s=st.floats(0, 100), link=st.floats(1e4, 1e9))
def test_exchange_takes_at_most_its_share_of_a_round(other_s: float, link: float) -> None:
    plan = planned(replace(LAPTOP, other_s=other_s, link_bytes_s=link), WORK)
    assert plan.steps >= LEAST_STEPS
    assert plan.exchange_s <= RHO * plan.round_s + 1e-9 or plan.steps == 1000
    # One step less would be too few, or the least.
    shorter = plan.exchange_s + (plan.steps - 1) * plan.step_s
    assert plan.exchange_s > RHO * shorter - 1e-6 or plan.steps == LEAST_STEPS


def test_a_round_reads_a_short_text_once() -> None:
    plan = planned(replace(LAPTOP, other_s=50.0), replace(WORK, text_tokens=40 * 128))
    assert plan.steps * plan.batch_windows == 40


def test_a_run_of_known_length_decays_to_its_end() -> None:
    work = replace(WORK, budget_tokens=1_000_000)
    plan = planned(LAPTOP, work)
    assert plan.decay_steps * plan.batch_windows * 128 == pytest.approx(1_000_000, rel=0.05)
    assert plan.warmup_steps <= math.ceil(0.02 * plan.decay_steps)
    assert planned(LAPTOP, WORK).decay_steps == 0


@given(st.lists(st.sampled_from([1.0, 2.0, 4.0, 8.0]), min_size=2, max_size=6))
def test_unequal_devices_have_rounds_of_one_length_and_hardly_wait(speeds: list[float]) -> None:
    devices = [
        replace(LAPTOP, name=f"{speed}", pace=StepPace(0.03 / speed, 3e-4 / speed), other_s=0.5 / speed)
        for speed in speeds
    ]
    work = replace(WORK, budget_tokens=10_000_000)
    fleet = planned_fleet(devices, [1] * len(devices), work)
    assert len({plan.round_s for plan in fleet.plans}) == 1
    assert all(plan.busy >= 0.9 for plan in fleet.plans)
    assert fleet.tokens >= 10_000_000
    assert fleet.bytes == fleet.rounds * len(devices) * 4 * 3e5
    assert fleet.joules == pytest.approx(
        fleet.rounds * math.fsum(15.0 * plan.busy * plan.round_s for plan in fleet.plans)
    )


def test_a_kind_counts_as_often_as_there_are_devices() -> None:
    work = replace(WORK, budget_tokens=10_000_000)
    one, many = (planned_fleet([LAPTOP], [count], work) for count in (1, 10))
    assert many.seconds == pytest.approx(one.seconds / 10, rel=0.05)
    assert many.joules == pytest.approx(one.joules, rel=0.05)


PHONE = replace(LAPTOP, name="phone", pace=StepPace(0.02, 1 / 150), memory_bytes=400e6, watts=4.0)
GPU = replace(LAPTOP, name="GPU", pace=StepPace(0.02, 1e-5), memory_bytes=80e9, watts=300.0)


def test_a_phone_and_a_gpu_get_settings_of_their_own_without_a_number_being_touched() -> None:
    work = replace(WORK, law=Law(), width=256)
    phone, laptop, gpu = (planned(device, work) for device in (PHONE, LAPTOP, GPU))
    assert phone.batch_windows <= laptop.batch_windows < gpu.batch_windows
    assert phone.learning_rate < laptop.learning_rate == gpu.learning_rate == work.law.rate
    assert (phone.batch_windows, gpu.batch_windows) == (1, 9)
    assert phone.memory_bytes <= PHONE.memory_bytes
    # Ten steps of the default batch, however small the batch.
    assert phone.warmup_steps * 128 == WARM_TOKENS


@given(width=st.integers(1, 20_000))
def test_wider_models_train_at_lower_rates_and_narrower_ones_at_no_higher_than_fitted(width: int) -> None:
    law = Law()
    rate = law.rate_at(law.reference_tokens, width=width)
    assert rate == pytest.approx(law.rate * min(1.0, law.width / width))
    assert law.rate_at(law.reference_tokens) == law.rate


def test_noisier_text_takes_larger_batches_and_a_lower_rate_at_the_same_batch() -> None:
    law = Law()
    noisy = law.at_noise(16 * law.noise_tokens)
    assert noisy.critical_tokens == pytest.approx(2 * law.critical_tokens)
    assert noisy.batch_tokens(75) > law.batch_tokens(75)
    assert noisy.rate_at(64) == pytest.approx(law.rate_at(64) / math.sqrt(2))
    assert law.at_noise(0) == law
