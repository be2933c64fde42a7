"""Tests of the comparison's rows, on runs with known numbers."""

from __future__ import annotations

import io
import math

import pytest
from msgspec.structs import replace
from rich.console import Console

from sim.experiments.measuring.metrics import PeerMetrics, RunMetrics
from sim.pretraining.arms import PretrainConfig
from sim.pretraining.judging import EACH_STEP, SMALL_STEPS, judged
from sim.pretraining.one_process import OneResult
from sim.pretraining.table import print_results

CONFIG = PretrainConfig(peers=2, steps=32)
ONE = {EACH_STEP: OneResult(2.5, 7.0, 1000), SMALL_STEPS: OneResult(2.0, 7.0, 1000)}
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
    rows = {one.name: one for one in judged(CONFIG, ONE, {"pairs": run_of(PEER)})}

    assert rows["pairs"].over == pytest.approx(2.1 / 2.0)
    assert rows[EACH_STEP].over == pytest.approx(1.25)


def test_all_bytes_of_a_peer_count_against_those_of_averaged_gradients() -> None:
    other = replace(PEER, after=math.exp(2.3), sent={"update": 3000})

    (row,) = (one for one in judged(CONFIG, ONE, {"pairs": run_of(PEER, other)}) if one.name == "pairs")

    assert row.sent_bytes == 2000
    assert row.fewer == pytest.approx(32 * 1000 * 2 / 2000)
    assert (row.loss, row.worst) == pytest.approx((2.2, 2.3))


def test_peers_that_train_alone_have_no_ratio_of_bytes() -> None:
    (row,) = (one for one in judged(CONFIG, ONE, {"alone": run_of(PEER)}) if one.name == "alone")

    assert (row.sent_bytes, row.fewer) == (0.0, None)


def test_the_table_has_a_row_for_each_and_says_what_the_numbers_are() -> None:
    console = Console(file=io.StringIO(), width=40)

    print_results(judged(CONFIG, ONE, {"pairs": run_of(PEER)}), CONFIG, console)

    file = console.file
    assert isinstance(file, io.StringIO)
    (line,) = (one for one in file.getvalue().splitlines() if one.startswith("pairs"))
    assert line.split()[:7] == ["pairs", "2.100", "2.100", "+5.0%", "0.00", "MB", "64"]
    assert "than averaging gradients" in file.getvalue()
