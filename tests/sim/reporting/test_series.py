"""The rounds in a report, and their values by peer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sim.reporting.series import evenly, rounded, run_part
from support.records import write_growing
from support.reported_runs import begun_of_index, round_of_index, row_of
from trust.inspection.reading.files import read_run
from trust.record.cost import Cost
from trust.record.history import HISTORY_FILE
from trust.rows.config import TrustConfig


@pytest.mark.parametrize(
    ("count", "kept"), [(2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10))), (99, list(range(10)))]
)
def test_rounds_are_kept_evenly_with_both_ends(count: int, kept: list[int]) -> None:
    assert evenly(range(10), count) == kept


def test_numbers_keep_four_digits() -> None:
    assert rounded(0.123456) == 0.1235
    assert rounded(1234567.0) == 1235000.0


def test_a_thinned_report_keeps_each_peers_last_round_and_totals_of_all(
    tmp_path: Path,
) -> None:
    """anna went on to round 19, bert was gone after round 6."""
    for index, rounds in ((0, 20), (1, 7)):
        records = [round_of_index(index, n, row_of(index, n)) for n in range(rounds)]
        write_growing(tmp_path / str(index) / HISTORY_FILE, [begun_of_index(index), *records])
    part = run_part(read_run(tmp_path), None, share=0.15)
    anna, bert, carl = part.peers
    assert (part.recorded, part.rounds) == (20, (0, 6, 10, 19))
    assert (anna.series.rounds, bert.series.rounds) == ((0, 6, 10, 19), (0, 6))
    assert anna.totals is not None
    assert (anna.totals.rounds, anna.totals.train_s) == (20, 40.0)
    # carl has no history in this run, but is in the rows of the others.
    assert (carl.name, carl.totals, carl.series.rounds) == ("carl", None, ())


def test_a_neighbour_that_left_early_keeps_its_column(
    tmp_path: Path,
) -> None:
    records = [round_of_index(0, 0, {1: 0.5}), round_of_index(0, 1, {2: 0.25})]
    write_growing(tmp_path / HISTORY_FILE, [begun_of_index(0), *records])
    part = run_part(read_run(tmp_path), None, share=1.0)
    assert [one.name for one in part.peers] == ["anna", "carl", "bert"]
    assert [[one.peer for one in seen] for seen in part.peers[0].series.seen] == [[2], [1]]


def test_distances_of_several_kinds_come_with_their_names(
    tmp_path: Path,
) -> None:
    config = TrustConfig(strategy="product", product_of=("predictions", "weights"))
    begun = msgspec.structs.replace(begun_of_index(0), trust=msgspec.json.encode(config).decode())
    record = round_of_index(0, 0, {1: 0.5})
    seen = msgspec.structs.replace(record.seen[0], distances=(0.5, 0.75), errors=(0.1, 0.0))
    write_growing(tmp_path / HISTORY_FILE, [begun, msgspec.structs.replace(record, seen=(seen,))])
    part = run_part(read_run(tmp_path), None, share=1.0)
    assert part.kinds == ("predictions", "weights")
    glimpse = part.peers[0].series.seen[0][0]
    assert (glimpse.distance, glimpse.error) == ((0.5, 0.75), (0.1, 0.0))


def test_energy_is_summed_by_how_it_is_known_and_shown_only_where_it_is(tmp_path: Path) -> None:
    cost = Cost(joules=2.5, method="rapl package", seconds=1.0, processor_s=0.5, sent=10)
    other = msgspec.structs.replace(cost, method="estimate: 15 W x processor share")
    records = [
        round_of_index(0, number, {1: 0.5}, cost=one) for number, one in enumerate((cost, cost, other))
    ]
    write_growing(tmp_path / "0" / HISTORY_FILE, [begun_of_index(0), *records])
    write_growing(tmp_path / "1" / HISTORY_FILE, [begun_of_index(1), round_of_index(1, 0, {0: 0.5})])
    anna, bert = run_part(read_run(tmp_path), None, share=1.0).peers
    assert anna.totals is not None
    assert bert.totals is not None
    assert [(one.method, one.rounds, one.joules, one.sent) for one in anna.totals.spent] == [
        ("estimate: 15 W x processor share", 1, 2.5, 10),
        ("rapl package", 2, 5.0, 20),
    ]
    assert bert.totals.spent == ()


def test_numbers_that_are_not_finite_are_null(
    tmp_path: Path,
) -> None:
    record = round_of_index(0, 0, {1: 0.5}, test_merged=float("nan"), trust_merged=float("inf"))
    write_growing(tmp_path / HISTORY_FILE, [begun_of_index(0), record])
    part = run_part(read_run(tmp_path), None, share=1.0)
    series = msgspec.json.decode(msgspec.json.encode(part))["peers"][0]["series"]
    assert (series["test_merged"], series["trust_merged"]) == ([None], [None])
