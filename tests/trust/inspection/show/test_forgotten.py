"""`gossipllm trust show` says how much of the public text each peer has forgotten, where it measures that."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from support.records import append_records, begun_of, make_home, round_of
from trust.cli import trust


def shown(home: Path, *arguments: str) -> str:
    return CliRunner(env={"COLUMNS": "100"}).invoke(trust, ["show", str(home), *arguments]).stdout


@pytest.mark.parametrize("forgotten", [0.125, msgspec.UNSET])
def test_a_column_tells_it_only_where_it_is_measured(
    tmp_path: Path, forgotten: float | msgspec.UnsetType
) -> None:
    home = make_home(tmp_path / "anna", "id-anna", name="anna")
    append_records(
        home, "id-anna", begun_of("id-anna", name="anna"), round_of("id-anna", 3, {}, forgotten=forgotten)
    )

    assert ("0.1250" in shown(home)) == (forgotten == 0.125)
    assert ("forgotten: by how much" in shown(home)) == (forgotten == 0.125)
    assert json.loads(shown(home, "--json"))["rows"][0]["forgotten"] == (
        0.125 if forgotten == 0.125 else None
    )


def test_a_history_that_does_not_measure_it_has_no_word_of_it() -> None:
    assert b"forgotten" not in msgspec.msgpack.encode(round_of("id-anna", 3, {}))
