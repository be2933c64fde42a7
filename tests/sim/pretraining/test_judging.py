"""Tests of the comparison's rows, on runs with known numbers."""

from __future__ import annotations

import io
import math

import pytest
from msgspec.structs import replace
from rich.console import Console

from sim.experiments.measuring.metrics import PeerMetrics, RoundPoint, RunMetrics
from sim.pretraining.arms import PretrainConfig
from sim.pretraining.judging import EACH_STEP, SMALL_STEPS, judged
from sim.pretraining.one_process import OneResult
from sim.pretraining.table import print_results

CONFIG = PretrainConfig(peers=2, steps=32)
RATE = 5e-3
ONE = {
    EACH_STEP: {RATE: OneResult(2.5, 2.6, 7.0, 1000)},
    SMALL_STEPS: {RATE: OneResult(2.0, 2.1, 7.0, 1000)},
}
PEER = PeerMetrics(
    name="peer-0",
    category="en",
    device="",
    targets=0,
    rounds=1,
    base=None,
    before=None,
    after=math.exp(2.1),
    row=(0.5, 0.5),
    divergence=0.0,
    correlation=None,
    same=1.0,
    effective=2.0,
    guard="",
    sent={"update": 900, "announcement": 100},
    received={},
)


def ended(loss: float, *, trust: float) -> PeerMetrics:
    point = RoundPoint(
        round=0,
        trust_alone=9.0,
        trust_merged=trust,
        before=9.0,
        after=math.exp(loss),
        tokens=1,
        sent=1,
        seconds=1.0,
    )
    return replace(PEER, after=math.exp(loss), course=(point,))


def run_of(*peers: PeerMetrics) -> RunMetrics:
    return RunMetrics(
        method="m",
        seed=0,
        finished=True,
        virtual_s=1.0,
        trace="",
        oracle=(),
        peers=peers,
        curve=(),
        forward={},
        backward={},
    )


def test_losses_are_held_against_the_better_of_the_two_of_one_process() -> None:
    rows = {one.name: one for one in judged(CONFIG, ONE, {"pairs": {RATE: run_of(PEER)}})}

    assert rows["pairs"].over == pytest.approx(2.1 / 2.0)
    assert rows[EACH_STEP].over == pytest.approx(1.25)
    assert rows["pairs"].over_each == pytest.approx(2.1 / 2.5)


def test_of_several_rates_the_trust_splits_choose_and_the_test_splits_report() -> None:
    """The rate of the least test loss is not taken where the trust splits prefer another."""
    one = {
        EACH_STEP: {1e-3: OneResult(2.5, 2.0, 7.0, 1000), 1e-2: OneResult(2.4, 2.1, 7.0, 1000)},
        SMALL_STEPS: {1e-3: OneResult(2.3, 2.0, 7.0, 1000), 1e-2: OneResult(2.2, 1.9, 7.0, 1000)},
    }
    arms = {"pairs": {1e-3: run_of(ended(2.7, trust=2.4)), 1e-2: run_of(ended(2.6, trust=2.5))}}

    rows = {one.name: one for one in judged(CONFIG, one, arms)}

    assert (rows[EACH_STEP].rate, rows[EACH_STEP].loss) == (1e-3, 2.5)
    assert (rows[SMALL_STEPS].rate, rows[SMALL_STEPS].loss) == (1e-2, 2.2)
    assert (rows["pairs"].rate, rows["pairs"].loss) == (1e-3, pytest.approx(2.7))
    assert rows["pairs"].over == pytest.approx(2.7 / 2.2)


def test_all_bytes_of_a_peer_count_against_those_of_averaged_gradients() -> None:
    other = replace(PEER, after=math.exp(2.3), sent={"update": 3000})

    (row,) = (
        one for one in judged(CONFIG, ONE, {"pairs": {RATE: run_of(PEER, other)}}) if one.name == "pairs"
    )

    assert row.sent_bytes == 2000
    assert row.fewer == pytest.approx(32 * 1000 * 2 / 2000)
    assert (row.loss, row.worst) == pytest.approx((2.2, 2.3))


def test_peers_that_train_alone_have_no_ratio_of_bytes() -> None:
    (row,) = (one for one in judged(CONFIG, ONE, {"alone": {RATE: run_of(PEER)}}) if one.name == "alone")

    assert (row.sent_bytes, row.fewer) == (0.0, None)


def test_the_table_has_a_row_for_each_and_says_what_the_numbers_are() -> None:
    console = Console(file=io.StringIO(), width=40)

    print_results(judged(CONFIG, ONE, {"pairs": {RATE: run_of(PEER)}}), CONFIG, console)

    file = console.file
    assert isinstance(file, io.StringIO)
    (line,) = (one for one in file.getvalue().splitlines() if one.startswith("pairs"))
    assert line.split()[:9] == ["pairs", "0.005", "2.100", "2.100", "+5.0%", "-16.0%", "0.00", "MB", "64"]
    assert "than averaging gradients" in file.getvalue()
