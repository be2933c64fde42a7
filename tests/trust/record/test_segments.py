"""A long history is kept in segments, and is read as if it were one file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sim.reporting.collecting import _read
from support.faulty_disk import Fault, FaultyDisk
from support.records import begun_of, entry_of, round_of
from trust.errors import UserMistake
from trust.inspection.reading.files import history_at, history_files, read_run
from trust.inspection.show.latest import read_latest
from trust.inspection.watch.following import Following
from trust.record.history import Begun, Entry, Round
from trust.record.log import read_history
from trust.record.segments import HistoryLimits, all_segments, limits_of, older_segments, size_of
from trust.record.writer import HistoryWriter

LIMITS = HistoryLimits(segment_bytes=2_000)
"""A few rounds in a segment."""


def written(path: Path, count: int, limits: HistoryLimits | None = LIMITS) -> list[Entry]:
    entries = [entry_of(begun_of("a", name="anna")), *(rounds(1, count))]
    with HistoryWriter(path, peer="a", now=0.0, limits=limits) as writer:
        for entry in entries:
            writer.append(entry)
    return entries


def rounds(first: int, count: int) -> list[Entry]:
    return [entry_of(round_of("a", number, {"b": 0.5})) for number in range(first, first + count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.msgpack"


def test_every_reader_reads_all_segments_as_one_history(path: Path) -> None:
    entries = written(path, 30)
    assert len(older_segments(path)) > 3

    assert list(read_history(path).entries) == entries
    assert list(history_at(path).entries) == entries
    assert list(read_run(path.parent).entries) == entries
    assert list(_read(path, path.parent)[0].entries) == entries
    assert list(Following([path.parent]).read_new().entries) == entries
    assert read_latest([path.parent]).members[0].rounds.keys() == {30}
    assert read_latest([path.parent], small=0).members[0].rounds.keys() == {30}
    for number in (1, 15, 30):
        for small in (0, 10**9):
            found = read_latest([path.parent], at_round=number, small=small)
            assert found.members[0].rounds.keys() == {number}
            assert found.members[0].name == "anna"


def test_segments_count_as_one_file_and_bytes_are_those_of_all(path: Path) -> None:
    written(path, 30)
    assert history_files(path.parent) == [path]
    history = read_history(path)
    assert history.whole == history_at(path).whole == size_of(all_segments(path))
    assert _read(path, path.parent)[1].bytes == history.whole


def test_each_segment_can_be_read_by_itself(path: Path) -> None:
    entries = written(path, 30)
    for file in all_segments(path):
        alone = read_history(file if file == path else Path(file.rename(file.with_name(f"copy-{file.name}"))))
        assert alone.entries[0] == entries[0]
        assert alone.torn == 0


def test_the_oldest_segments_go_when_all_are_too_long(path: Path) -> None:
    entries = written(path, 100, HistoryLimits(segment_bytes=2_000, total_bytes=10_000))

    assert size_of(all_segments(path)) < 10_000 + 4_000
    kept = list(read_history(path).entries)
    assert kept[0] == entries[0], "the peer still has its name"
    assert kept[1:] == entries[-len(kept) + 1 :]
    assert 10 < len(kept) < 60
    assert read_latest([path.parent]).members[0].name == "anna"


def test_a_start_between_segments_is_recorded_once(path: Path) -> None:
    first = written(path, 10)
    again = written(path, 10)
    found = list(read_history(path).entries)
    assert found == [*first, *again]
    assert sum(isinstance(entry.record, Begun) for entry in found) == 2


def test_watching_goes_on_over_a_new_segment(path: Path) -> None:
    with HistoryWriter(path, peer="a", now=0.0, limits=LIMITS) as writer:
        writer.append(entry_of(begun_of("a")))
        watched = Following([path.parent])
        seen: list[Entry] = []
        for entry in rounds(1, 40):
            writer.append(entry)
            new = watched.read_new()
            assert not new.restarted
            seen += new.entries
    assert len(older_segments(path)) > 3
    assert [entry.record.round for entry in seen if isinstance(entry.record, Round)] == list(range(1, 41))
    assert sum(isinstance(entry.record, Begun) for entry in seen) == 1
    assert watched.troubles == ()


def test_damage_of_one_segment_hides_no_other(path: Path) -> None:
    entries = written(path, 30)
    damaged = older_segments(path)[1]
    damaged.write_bytes(damaged.read_bytes()[:-5])

    for found in (read_history(path), history_at(path)):
        assert len(found.entries) == len(entries) - 1
        assert found.torn > 0
        assert "the record is not whole" in found.why
    assert history_at(path).why.startswith(f"{damaged.name}, byte ")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.EROFS])
def test_where_no_segment_can_be_begun_the_last_one_grows_on(path: Path, code: int) -> None:
    entries = written(path, 3)
    more = rounds(4, 8)
    with HistoryWriter(path, peer="a", now=0.0, limits=LIMITS) as writer:
        for entry in more:
            for operation in ("replace", "open"):
                with FaultyDisk(1, Fault("", code, lasting=True), only=operation):
                    writer._make_room()
            writer.append(entry)
            assert list(read_history(path).entries)[-1] == entry
    assert list(read_history(path).entries) == [*entries, *more]


def test_a_segment_is_private(path: Path) -> None:
    before = os.umask(0)
    written(path, 20)
    os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in all_segments(path)} == {0o600}


def test_files_of_other_names_are_no_segments(path: Path) -> None:
    written(path, 3, None)
    for name in ("history-old.msgpack", "history-1.msgpack", "history-000001.msgpack.torn-5"):
        (path.parent / name).write_bytes(b"x")
    assert older_segments(path) == []


def test_a_folder_whose_newest_segment_is_not_begun_yet_is_read(path: Path) -> None:
    """A crash between the rename and the first record."""
    entries = written(path, 5, None)
    path.rename(path.with_name("history-000001.msgpack"))
    assert list(read_run(path.parent).entries) == entries
    assert list(read_history(path).entries) == entries


def test_a_folder_without_a_history_is_refused_as_before(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"no history\.msgpack in"):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_history(tmp_path / "history.msgpack")


def test_limits_are_checked_and_follow_from_megabytes() -> None:
    with pytest.raises(ValueError, match="segment_bytes must be above 0"):
        HistoryLimits(segment_bytes=0)
    with pytest.raises(ValueError, match="at least two segments"):
        HistoryLimits(segment_bytes=10, total_bytes=19)
    assert limits_of(0).total_bytes == 0
    for total_mb in (1, 10, 1000):
        limits = limits_of(total_mb)
        assert limits.total_bytes == total_mb * 1_000_000 >= 4 * limits.segment_bytes
