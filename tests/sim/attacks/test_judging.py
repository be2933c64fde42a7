"""Ratios, limits and what counts as a miss, on made metrics."""

from __future__ import annotations

import pytest

from sim.attacks.battery import ALONE, Cell, peaceful_cell
from sim.attacks.judging import CellResult, Limits, judged
from sim.experiments.measuring.metrics import AttackMetrics, PeerMetrics, RunMetrics

BAIT = Cell("bait", 0.3, "s3")


def peer(after: float) -> PeerMetrics:
    return PeerMetrics(
        name="p",
        category="fr",
        device="",
        targets=1,
        rounds=6,
        base=9.0,
        before=after,
        after=after,
        row=(1.0,),
        divergence=0.0,
        correlation=None,
        same=1.0,
        effective=1.0,
        guard="taken",
        sent={},
        received={},
    )


def run(*after: float, weights: tuple[float, ...] | None = None) -> RunMetrics:
    attack = None
    if weights is not None:
        attack = AttackMetrics(name="bait", attackers=3, weights=weights, largest=0.0, refused=1, rounds=4)
    return RunMetrics(
        method="any",
        seed=0,
        finished=True,
        virtual_s=1.0,
        trace="",
        oracle=(),
        peers=tuple(map(peer, after)),
        curve=(),
        forward={},
        backward={},
        attack=attack,
    )


def result(cell: Cell, attacked: RunMetrics) -> CellResult:
    runs = {
        (peaceful_cell(ALONE), 0): run(100.0, 200.0),
        (peaceful_cell("s3"), 0): run(90.0, 180.0),
        (cell, 0): attacked,
    }
    found = judged(cell, runs, Limits())
    assert found is not None
    return found


def test_each_peer_is_compared_with_itself_alone() -> None:
    found = result(BAIT, run(95.0, 180.0, weights=(0.9, 0.9, 0.9, 0.01)))

    assert found.mean == pytest.approx(0.925)
    assert found.worst == pytest.approx(0.95)
    assert found.clean == pytest.approx(0.9)
    assert found.kept == pytest.approx(0.75)
    assert found.weight == 0.01
    assert found.refused == 0.25
    assert found.misses == ()


def test_one_peer_that_is_harmed_is_a_miss() -> None:
    assert result(BAIT, run(103.0, 150.0, weights=(0.0,) * 6)).misses == ("worst",)


def test_weight_counts_after_three_rounds() -> None:
    assert result(BAIT, run(90.0, 180.0, weights=(0.0, 0.0, 0.0, 0.06, 0.0))).misses == ("weight",)
    assert result(BAIT, run(90.0, 180.0, weights=(0.5, 0.5, 0.5, 0.05))).misses == ()


def test_the_weight_in_rounds_without_an_attack_stands_apart() -> None:
    weights = (0.0, 0.0, 0.0, 0.01, 0.2, 0.03)

    turns = result(Cell("alternation", 0.3, "s3"), run(90.0, 180.0, weights=weights))
    always = result(BAIT, run(90.0, 180.0, weights=weights))

    assert (turns.weight, turns.hostile) == (0.2, 0.03)
    assert (always.weight, always.hostile) == (0.2, 0.2)


@pytest.mark.parametrize(("attackers", "misses"), [(1.0, ("kept",)), (0.3, ()), (0.5, ())])
def test_more_of_the_gain_must_be_kept_from_one_attacker(attackers: float, misses: tuple[str, ...]) -> None:
    attacked = run(94.0, 188.0, weights=(0.0,))

    assert result(Cell("bait", attackers, "s3"), attacked).misses == misses


def test_a_cell_without_runs_to_compare_with_has_no_result() -> None:
    assert judged(BAIT, {(BAIT, 0): run(90.0, weights=(0.0,))}, Limits()) is None
