"""`gossipllm trust show` and `trust explain` say of two peers with different bases what they do instead of merging."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from support.records import append_records, begun_of, make_home, round_of, seen_of
from trust.cli import trust
from trust.inspection.explain.answering import explained
from trust.inspection.explain.case import case_of
from trust.inspection.explain.document import Explanation, LeaveOneOut
from trust.inspection.explain.page import print_page
from trust.inspection.reading.files import read_run
from trust.record.history import Seen
from trust.rows.rows import TrustConfig


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(trust, [*map(str, arguments)])


def other_base(name: str, *, teaches: float | None = None) -> Seen:
    relation = "compares" if teaches is None else "distils"
    return msgspec.structs.replace(
        seen_of(f"id-{name}", name=name, distance=0.3), relation=relation, teaches=teaches
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Anna merged cleo at a quarter, learnt from the predictions of dora, and compared those of bert."""
    begun = msgspec.structs.replace(
        begun_of("id-anna", name="anna"),
        strategy="predictions",
        trust=msgspec.json.encode(TrustConfig(temperatures=(1.0,))).decode(),
        guarded=False,
    )
    seen = (
        other_base("bert"),
        seen_of("id-cleo", name="cleo", distance=0.5, weight=0.25),
        other_base("dora", teaches=0.4),
    )
    row = round_of("id-anna", 3, {}, seen=seen, self_weight=0.75, temperature=1.0, tried=())
    folder = make_home(tmp_path / "anna", "id-anna", name="anna")
    append_records(folder, "id-anna", begun, row)
    return folder


def test_the_matrix_marks_who_is_only_compared_and_who_teaches(home: Path) -> None:
    out = run("show", home).stdout

    assert ["anna", "*75", "c", "25", "d"] in [line.split() for line in out.splitlines()]
    assert "c another base: does not merge, only compares predictions\n" in out
    assert "d another base: does not merge, distils its predictions\n" in out
    (anna,) = json.loads(run("show", home, "--json").stdout)["rows"]
    assert anna["others"] == {"id-bert": "compares", "id-dora": "distils"}


def test_the_matrix_marks_who_is_apart(home: Path) -> None:
    apart = msgspec.structs.replace(seen_of("id-erik", name="erik"), relation="apart")
    row = round_of("id-anna", 4, {}, seen=(apart,), self_weight=1.0, temperature=None, tried=())
    append_records(home, "id-anna", row)

    out = run("show", home).stdout

    assert "a another base: nothing to merge or to compare\n" in out
    assert "They had nothing to compare either." in page_of(answer_of(home, "erik"))


def test_byte_rows_are_explained_and_held_against_byte_rows_only(home: Path) -> None:
    across = [
        msgspec.structs.replace(other_base(name), distance=distance, by_bytes=True)
        for name, distance in (("bert", 0.6), ("dora", 0.5))
    ]
    kin = seen_of("id-cleo", name="cleo", distance=0.1, weight=0.25)
    row = round_of("id-anna", 4, {}, seen=(across[0], kin, across[1]), self_weight=0.75, temperature=1.0)
    append_records(home, "id-anna", row)

    answer = answer_of(home, "bert")
    page = page_of(answer)

    (evidence,) = answer.evidence
    assert (evidence.rank, evidence.of, evidence.nearest) == (2, 2, 0.5)
    assert "predicted the next bytes, and the words, of the same public text" in page
    assert not answer_of(home, "cleo").by_bytes


def answer_of(home: Path, other: str) -> Explanation:
    case = case_of(read_run(home), "anna", other, None)
    return explained(case, (), losses={}, without=LeaveOneOut(why="nothing was kept"))


def page_of(answer: Explanation) -> str:
    out = io.StringIO()
    print_page(answer, Console(file=out, width=60, highlight=False))
    return " ".join(out.getvalue().split())


def test_the_page_of_another_base_says_what_it_was_taken_for(home: Path) -> None:
    compared, distilled = (page_of(answer_of(home, name)) for name in ("bert", "dora"))

    assert "Why anna gives bert nothing in round 3" in compared
    assert "bert holds another base, tokenizer or adapter layout" in compared
    assert "Only their predictions were compared." in compared
    assert "bert: 0.3" in compared
    assert "anna distilled its predictions instead, at 40.0 % of the lessons' row." in distilled


def test_the_row_of_those_that_merge_is_computed_again_without_the_others(home: Path) -> None:
    answer = answer_of(home, "cleo")

    assert [one.peer for one in answer.row] == ["id-anna", "id-cleo"]
    assert answer.relation == "merges"
    assert answer.check.weight is not None


def test_a_history_from_before_there_were_other_bases_merges_with_all() -> None:
    assert seen_of("id-cleo").relation == "merges"
    assert b"relation" not in msgspec.msgpack.encode(seen_of("id-cleo"))
