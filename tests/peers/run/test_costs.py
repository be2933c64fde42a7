"""What a round cost stands in its record: since the last one, and with the method of its joules."""

from __future__ import annotations

import io

import msgspec

from gossipllm.device.energy import EnergyMeter
from gossipllm.device.measured import NotMeasuredError
from peers.net.host import NetworkTraffic
from peers.run.costs import LOOK_EVERY_S, CostMeter, LearnerUse
from peers.run.printing.output import TerminalLines
from support.records import round_of
from trust.record.cost import Cost
from trust.record.history import Round

METHOD = "estimate: 20 W x processor share"


class Device:
    """A clock, two processes and their energy, which a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.own_s = 0.5
        self.used = LearnerUse()
        self.counter_reads = 0

    def costs(self) -> CostMeter:
        energy = EnergyMeter(watts=20.0, processors=2, rapl=self._rapl, nvml=self._nvml)
        return CostMeter(energy, lambda: self.used, now=lambda: self.now, own_processor_s=lambda: self.own_s)

    def _rapl(self) -> Device:
        raise NotMeasuredError("none here")

    def _nvml(self) -> Device:
        return self

    method = "nvml"

    def joules(self) -> float:
        self.counter_reads += 1
        return 0.0


def cost_of(record: Round) -> Cost:
    assert not isinstance(record.cost, msgspec.UnsetType)
    return record.cost


def traffic(sent: int, received: int) -> NetworkTraffic:
    return NetworkTraffic(sent={"blob": sent, "wire": 1}, received={"blob": received})


def test_a_round_is_charged_what_was_spent_since_the_one_before() -> None:
    device = Device()
    costs = device.costs()
    device.now, device.own_s, device.used = 1010.0, 1.0, LearnerUse(7.0, 600, "cpu")
    first = costs.costed(round_of("a", 0, {}), traffic(99, 50))
    device.now, device.own_s, device.used = 1014.0, 1.5, LearnerUse(9.5, 700, "cpu")
    second = costs.costed(round_of("a", 1, {}), traffic(299, 80))

    assert cost_of(first) == Cost(
        joules=80.0, method=METHOD, seconds=10.0, processor_s=8.0, peak_bytes=600, sent=100, received=50
    )
    assert cost_of(second) == Cost(
        joules=30.0, method=METHOD, seconds=4.0, processor_s=3.0, peak_bytes=700, sent=200, received=30
    )


def test_a_learner_on_a_gpu_has_its_gpu_counted() -> None:
    device = Device()
    costs = device.costs()
    device.used = LearnerUse(1.0, 600, "cuda:0")
    record = costs.costed(round_of("a", 0, {}), traffic(0, 0))
    assert cost_of(record).method == f"{METHOD} + nvml"


def test_counters_are_read_once_a_minute_between_rounds() -> None:
    device = Device()
    costs = device.costs()
    device.used = LearnerUse(1.0, 600, "cuda:0")
    costs.costed(round_of("a", 0, {}), traffic(0, 0))
    before = device.counter_reads
    for _ in range(int(2 * LOOK_EVERY_S)):
        device.now += 1.0
        costs.tick()
    assert device.counter_reads - before == 2


def test_the_line_of_a_round_tells_its_joules_and_how_they_are_known() -> None:
    device, stream = Device(), io.StringIO()
    costs = device.costs()
    device.own_s, device.used = 1.0, LearnerUse(7.0, 612_000_000, "cpu")
    record = costs.costed(round_of("a", 0, {}), traffic(0, 0))
    lines = TerminalLines(stream)
    lines.record(record, traffic(0, 0))
    lines.record(round_of("a", 1, {}), traffic(0, 0))
    with_cost, without = stream.getvalue().splitlines()
    assert with_cost.endswith(f"; 80 J ({METHOD}), 8.0 processor s, 612.0 MB")
    assert without.endswith("got 0.0 MB")


def test_a_history_without_costs_has_no_word_of_them() -> None:
    assert b"cost" not in msgspec.msgpack.encode(round_of("a", 3, {}))
