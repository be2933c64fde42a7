"""A number of joules never comes without how it was found, and what fails is estimated from then on."""

from __future__ import annotations

import pytest

from gossipllm.device.config import DeviceConfig
from gossipllm.device.energy import Energy, EnergyMeter
from gossipllm.device.measured import EnergyCounter, NotMeasuredError


class Counter:
    """A counter that a test moves, and that fails when told."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.now = 100.0
        self.fails = False

    def joules(self) -> float:
        if self.fails:
            raise NotMeasuredError("gone")
        return self.now


def nothing() -> EnergyCounter:
    raise NotMeasuredError("energy_uj may be read by root alone")


def metered(counter: Counter | None = None, gpu: Counter | None = None) -> EnergyMeter:
    return EnergyMeter(
        watts=20.0,
        processors=4,
        rapl=nothing if counter is None else lambda: counter,
        nvml=nothing if gpu is None else lambda: gpu,
    )


def test_without_a_counter_declared_watts_are_shared_by_processor_time() -> None:
    meter = metered()
    assert meter.since_last(6.0) == Energy(20.0 * 6.0 / 4, "estimate: 20 W x processor share")
    assert meter.since_last(0.0).joules == 0.0
    assert meter.why_not == "energy_uj may be read by root alone"


def test_counted_joules_are_those_since_the_last_call() -> None:
    counter = Counter("rapl package")
    meter = metered(counter)
    counter.now = 130.0
    assert meter.since_last(1.0) == Energy(30.0, "rapl package")
    counter.now = 135.0
    assert meter.since_last(1.0) == Energy(5.0, "rapl package")
    assert meter.why_not == ""


def test_a_counter_that_fails_is_replaced_by_the_estimate_from_then_on() -> None:
    counter = Counter("rapl package")
    meter = metered(counter)
    counter.now, counter.fails = 150.0, True
    assert meter.since_last(2.0) == Energy(10.0, "estimate: 20 W x processor share")
    counter.fails = False
    assert meter.since_last(2.0).method == "estimate: 20 W x processor share"


def test_a_counter_that_stands_still_while_processors_work_is_not_believed() -> None:
    meter = metered(Counter("rapl package"))
    assert meter.since_last(2.0) == Energy(10.0, "estimate: 20 W x processor share")
    assert meter.since_last(0.0) == Energy(0.0, "rapl package")


def test_a_gpu_counts_from_when_it_is_used() -> None:
    counter, gpu = Counter("rapl package"), Counter("nvml")
    meter = metered(counter, gpu)
    gpu.now += 1000.0
    meter.uses_gpu()
    counter.now, gpu.now = 101.0, gpu.now + 50.0
    assert meter.since_last(1.0) == Energy(51.0, "rapl package + nvml")
    meter.uses_gpu()
    gpu.now += 3.0
    assert meter.since_last(0.0) == Energy(3.0, "rapl package + nvml")


def test_a_gpu_that_is_not_counted_is_named() -> None:
    counter = Counter("rapl package")
    meter = metered(counter)
    meter.uses_gpu()
    counter.now = 101.0
    assert meter.since_last(1.0) == Energy(1.0, "rapl package + GPU not counted")


@pytest.mark.parametrize("watts", [0.0, -1.0, float("nan"), 1e6])
def test_watts_that_no_device_takes_are_refused(watts: float) -> None:
    with pytest.raises(ValueError, match=r"watts must be in \(0, 100000\]"):
        DeviceConfig(watts=watts)
