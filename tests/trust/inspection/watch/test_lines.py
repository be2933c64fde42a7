"""The JSON lines of `trust watch --json`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec

from support.records import append_records, make_home, round_of
from trust.inspection.watch.following import Following
from trust.inspection.watch.lines import WatchLines
from trust.record.history import HISTORY_FILE, Note, Refusal


def test_the_first_line_has_everything_and_each_later_one_what_changed(tmp_path: Path) -> None:
    a = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}), round_of("id-a", 2, {"id-b": 0.25}))
    make_home(tmp_path / "b", "id-b", round_of("id-b", 1, {}))
    lines = WatchLines(Following([tmp_path]))
    first = json.loads(lines.next() or "")
    assert (first["schema"], first["again"]) == (1, False)
    assert [(row["name"], row["round"]) for row in first["rows"]] == [("ID-A", 2), ("ID-B", 1)]
    assert first["rows"][0]["weights"] == {"id-b": 0.25}
    assert first["rows"][0]["self_weight"] == 0.75
    assert lines.next() is None
    append_records(a, "id-a", round_of("id-a", 3, {}), round_of("id-a", 4, {}), blob=100)
    second = json.loads(lines.next() or "")
    assert [(row["peer"], row["round"]) for row in second["rows"]] == [("id-a", 4)]
    assert second["rows"][0]["sent"] == {"blob": 100}


def test_refusals_and_notes_are_escaped(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a")
    lines = WatchLines(Following([home]))
    lines.next()
    append_records(
        home,
        "id-a",
        Refusal(peer="id-a", about="id-b\x1b[31m", field="adapter", why="NaN"),
        Note(peer="id-a", level="warning", text="came back"),
    )
    line = json.loads(lines.next() or "")
    assert line["rows"] == []
    assert line["refusals"] == [
        {"at_s": 1.5, "peer": "id-a", "about": "id-b\\x1b[31m", "field": "adapter", "why": "NaN"}
    ]
    assert [note["text"] for note in line["notes"]] == ["came back"]


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    record = msgspec.structs.replace(round_of("id-a", 1, {}), test_merged=math.nan, train_loss=math.inf)
    make_home(tmp_path / "a", "id-a", record)
    (row,) = json.loads(WatchLines(Following([tmp_path])).next() or "")["rows"]
    assert row["test_merged"] is None
    assert row["train_loss"] is None


def test_a_replaced_file_sets_again_in_the_next_line(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}), round_of("id-a", 2, {}))
    other = make_home(tmp_path / "aside" / "deep" / "er" / "b", "id-b", round_of("id-b", 1, {}))
    lines = WatchLines(Following([home]))
    lines.next()
    (home / HISTORY_FILE).write_bytes((other / HISTORY_FILE).read_bytes())
    line = json.loads(lines.next() or "")
    assert line["again"]
    assert [row["peer"] for row in line["rows"]] == ["id-b"]


def test_a_torn_end_is_reported_once(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    with (home / HISTORY_FILE).open("ab") as end:
        end.write(b"nonsense")
    lines = WatchLines(Following([home]))
    troubles = [json.loads(line)["troubles"] for _ in range(6) if (line := lines.next())]
    assert [len(lines_of_file) for lines_of_file in troubles] == [0, 1]
