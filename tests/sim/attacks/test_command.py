"""`gossipllm sim attacks`: lists, mistakes, and the table of what is measured."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from sim.adversaries.table import ADVERSARIES
from sim.attacks.judging import CellResult, Limits
from sim.attacks.table import print_results
from sim.cli import sim


def result(**changes: object) -> CellResult:
    fields: dict[str, object] = {
        "attack": "forged-evidence",
        "attackers": 0.3,
        "method": "learned",
        "seeds": 5,
        "mean": 0.95,
        "worst": 1.031,
        "clean": 0.93,
        "kept": 0.71,
        "weight": 0.012,
        "hostile": 0.007,
        "refused": 0.25,
        "triggered": None,
        "misses": ("worst",),
    }
    return CellResult(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


def printed(*results: CellResult) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_results(results, Limits(), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_list_names_every_attack() -> None:
    shown = CliRunner().invoke(sim, ["attacks", "--list"])

    assert shown.exit_code == 0
    assert all(name in shown.output for name in ADVERSARIES)


def test_the_help_of_sim_names_the_battery() -> None:
    assert "attacks" in CliRunner().invoke(sim, ["--help"]).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--attacks", "bate"], "did you mean bait"),
        (["--methods", "s9"], "s9"),
        (["--attackers", "1.5", "--attacks", "bait"], "attackers"),
        (["--attackers", "some"], "some"),
        (["--seeds", "4..1"], "holds nothing"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    failed = CliRunner().invoke(sim, ["attacks", *arguments, "-o", str(tmp_path / "out")])

    assert failed.exit_code == 2
    assert says in failed.output
    assert not (tmp_path / "out").exists()


def test_numbers_beyond_a_limit_are_marked_and_counted() -> None:
    shown = printed(result(), result(misses=()))

    assert "1.031 !" in shown
    assert "1 of 2 within all limits" in shown


def test_the_table_fits_eighty_columns_without_cutting_a_number() -> None:
    row = printed(result(misses=("worst", "kept", "weight"), triggered=0.25)).splitlines()[1]

    for text in (
        "forged-evidence",
        "30%",
        "learned",
        "0.950",
        "1.031 !",
        "0.930",
        "0.71 !",
        "0.012 !",
        "25%",
    ):
        assert text in row


def test_backdoors_have_a_column_where_there_is_one() -> None:
    assert "trigger " not in printed(result()).splitlines()[0]
    assert "trigger" in printed(result(triggered=0.5), result()).splitlines()[0]


def test_a_narrow_console_cuts_off_no_number() -> None:
    wide = result(attack="a-name-of-thirty-six-characters-long", method="learned+rowguard", triggered=0.125)
    (row,) = (line for line in printed(wide).splitlines() if line.startswith("a-name"))

    assert row.split() == [
        *("a-name-of-thirty-six-characters-long", "30%", "learned+rowguard", "0.950", "1.031", "!"),
        *("0.930", "0.71", "0.012", "0.007", "25%", "5", "12%"),
    ]
