"""What a device chooses from its pace: what is asked for, fitting what is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipllm.config import TrainingConfig
from gossipllm.device.plan.choice import AUTOMATIC, BATCH, BROUGHT, MICRO, RATE, STEPS, WARMUP, chosen
from gossipllm.device.plan.law import LAW
from gossipllm.device.plan.pace import StepPace
from gossipllm.device.plan.planner import Device, Form, Work, planned

FORM = Form(name="all blocks", held_bytes=100e6, token_bytes=1e5)
PHONE = Device(
    name="phone",
    pace=StepPace(0.02, 1 / 150),
    memory_bytes=4e9,
    forms=(FORM,),
    watts=0.0,
    link_bytes_s=1e6,
    other_s=0.5,
)
GPU = replace(PHONE, name="GPU", pace=StepPace(0.02, 1e-6), memory_bytes=80e9)
WORK = Work(window_tokens=128, update_bytes=3e5, neighbours=4, text_tokens=100_000, width=256)
ALL = (*AUTOMATIC, *BROUGHT)


@pytest.mark.parametrize("device", [PHONE, GPU])
def test_the_choice_is_the_plan(device: Device) -> None:
    plan, found = planned(device, WORK), chosen(ALL, device, WORK, TrainingConfig()).settings
    assert found[BATCH] == plan.batch_windows
    assert found[RATE] == plan.learning_rate
    assert found[STEPS] == plan.steps
    assert found[WARMUP] == plan.warmup_steps
    assert MICRO not in found


def test_a_gpu_takes_larger_batches_than_a_phone() -> None:
    phone, gpu = (chosen(ALL, device, WORK, TrainingConfig()).settings for device in (PHONE, GPU))
    assert phone[BATCH] == 1
    assert gpu[BATCH] > 8
    assert phone[RATE] < gpu[RATE]


def test_a_rate_fits_a_batch_that_is_given() -> None:
    given = TrainingConfig(batch_windows=64)
    found = chosen((RATE, STEPS), PHONE, WORK, given).settings
    assert set(found) == {RATE, STEPS}
    assert found[RATE] == pytest.approx(LAW.rate_at(64 * 128, width=256))
    in_tokens = chosen(ALL, PHONE, WORK, TrainingConfig(batch_tokens=256)).settings
    assert BATCH not in in_tokens
    assert in_tokens[RATE] == pytest.approx(LAW.rate_at(256, width=256))


def test_what_does_not_fit_goes_through_the_model_in_parts() -> None:
    tight = replace(GPU, memory_bytes=FORM.held_bytes + 10.5 * 128 * FORM.token_bytes)
    work = replace(WORK, law=replace(LAW, least_tokens=20 * 128))
    found = chosen(ALL, tight, work, TrainingConfig()).settings
    assert (found[BATCH], found[MICRO]) == (20, 10)


def test_without_memory_for_a_window_the_batch_stays_as_it_is() -> None:
    full = replace(PHONE, memory_bytes=1e6)
    found = chosen(ALL, full, WORK, TrainingConfig()).settings
    assert set(found) == {RATE, STEPS}


def test_a_schedule_of_known_length_keeps_its_warm_up() -> None:
    found = chosen(ALL, PHONE, WORK, TrainingConfig(decay_steps=50)).settings
    assert WARMUP not in found


def test_a_round_reads_no_text_twice() -> None:
    little = replace(WORK, text_tokens=2560)
    found = chosen(ALL, PHONE, little, TrainingConfig()).settings
    assert found[STEPS] * found[BATCH] * 128 <= 2560
