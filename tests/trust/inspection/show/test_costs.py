"""`gossipllm trust show --cost`: sums by peer and by the method that found the joules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.records import append_records, begun_of, make_home, round_of
from trust.cli import trust
from trust.record.cost import Cost
from trust.record.history import Round

RAPL, ESTIMATE = "rapl package", "estimate: 15 W x processor share"


def costly(number: int, joules: float, method: str, *, peak_bytes: int = 0) -> Round:
    cost = Cost(
        joules=joules,
        method=method,
        seconds=2.0,
        processor_s=1.5,
        peak_bytes=peak_bytes,
        sent=1000,
        received=500,
    )
    return round_of("id-anna", number, {}, cost=cost)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = make_home(tmp_path / "anna", "id-anna", name="anna")
    rounds = (
        costly(0, 10.0, RAPL, peak_bytes=7),
        costly(1, 30.0, RAPL, peak_bytes=9),
        costly(2, 5.0, ESTIMATE),
    )
    append_records(home, "id-anna", begun_of("id-anna", name="anna"), *rounds)
    return home


def shown(home: Path, *arguments: str) -> str:
    return CliRunner(env={"COLUMNS": "110"}).invoke(trust, ["show", str(home), *arguments]).stdout


def test_joules_of_different_methods_are_never_added_up(home: Path) -> None:
    costs = json.loads(shown(home, "--cost", "--json"))["costs"]
    assert [(one["method"], one["rounds"], one["joules"]) for one in costs] == [
        (ESTIMATE, 1, 5.0),
        (RAPL, 2, 40.0),
    ]
    table = shown(home, "--cost")
    assert "total" not in table
    assert RAPL in table
    assert ESTIMATE in table


def test_sums_are_over_rounds_and_the_peak_is_the_largest(home: Path) -> None:
    (_, rapl) = json.loads(shown(home, "--cost", "--json"))["costs"]
    assert rapl == {
        "peer": "id-anna",
        "name": "anna",
        "method": RAPL,
        "rounds": 2,
        "tokens": 2000,
        "joules": 40.0,
        "seconds": 4.0,
        "processor_s": 3.0,
        "peak_bytes": 9,
        "sent": 2000,
        "received": 1000,
    }


def test_peers_that_are_counted_alike_have_a_total(home: Path, tmp_path: Path) -> None:
    cost = Cost(joules=2.0, method=RAPL, seconds=1.0)
    make_home(tmp_path / "bert", "id-bert", round_of("id-bert", 0, {}, cost=cost), name="bert")
    alike = make_home(tmp_path / "carl", "id-carl", round_of("id-carl", 0, {}, cost=cost), name="carl")
    result = CliRunner(env={"COLUMNS": "110"}).invoke(
        trust, ["show", str(alike), str(tmp_path / "bert"), "--cost"]
    )
    total = next(line for line in result.stdout.splitlines() if line.startswith("total"))
    assert total.split()[:3] == ["total", "2", "4"]


def test_a_history_of_an_earlier_version_says_that_it_has_none(tmp_path: Path) -> None:
    home = make_home(tmp_path / "anna", "id-anna", round_of("id-anna", 0, {}), name="anna")
    assert "no round here has a cost" in shown(home, "--cost")
    assert "joules" not in shown(home)
