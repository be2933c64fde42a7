"""Following history files that grow, tear, shrink and appear."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from support.records import append_records, make_home, round_of
from trust.errors import UserMistake
from trust.inspection.watch import following
from trust.inspection.watch.following import Following, NewEntries
from trust.record.history import HISTORY_FILE, Entry, Round
from trust.record.log import History


def rounds(new: NewEntries) -> list[int]:
    return [entry.record.round for entry in new.entries if isinstance(entry.record, Round)]


def add(file: Path, data: bytes) -> None:
    with file.open("ab") as end:
        end.write(data)


def all_entries(following: Following) -> tuple[Entry, ...]:
    """Entries of repeated calls until nothing is left to be read."""
    new = following.read_new()
    entries = new.entries
    while new.behind:
        new = following.read_new()
        entries += new.entries
    return entries


def test_each_entry_is_returned_once(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    watched = Following([home])
    assert rounds(watched.read_new()) == [1]
    assert watched.read_new() == NewEntries((), restarted=False, behind=0)
    append_records(home, "id-a", round_of("id-a", 2, {}), round_of("id-a", 3, {}))
    assert rounds(watched.read_new()) == [2, 3]


def test_only_new_bytes_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path / "a", "id-a", *(round_of("id-a", number, {}) for number in range(50)))
    watched = Following([home])
    before = len((home / HISTORY_FILE).read_bytes())
    watched.read_new()
    decoded: list[int] = []
    really = following.decoded

    def counting(data: bytes) -> History:
        decoded.append(len(data))
        return really(data)

    monkeypatch.setattr(following, "decoded", counting)
    append_records(home, "id-a", round_of("id-a", 50, {}))
    watched.read_new()
    watched.read_new()
    assert decoded == [len((home / HISTORY_FILE).read_bytes()) - before]


def test_a_torn_end_waits_until_it_is_whole(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}), round_of("id-a", 2, {}))
    file = home / HISTORY_FILE
    whole = file.read_bytes()
    file.write_bytes(b"")
    watched = Following([home])
    seen: list[int] = []
    for begin in range(0, len(whole), 7):
        add(file, whole[begin : begin + 7])
        new = watched.read_new()
        assert not new.restarted
        seen += rounds(new)
    assert seen == [1, 2]
    assert watched.troubles == ()


def test_an_end_that_stays_torn_is_reported_in_one_line(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    file = home / HISTORY_FILE
    whole = len(file.read_bytes())
    add(file, b"\xc1 nonsense \x1b[31m")
    watched = Following([home])
    assert rounds(watched.read_new()) == [1]
    assert watched.troubles == ()
    for _ in range(3):
        watched.read_new()
    (trouble,) = watched.troubles
    assert f"from byte {whole} on, not a record" in trouble
    assert trouble.isprintable()


@pytest.mark.parametrize("how", ["cut", "cut and longer", "another file"])
def test_a_file_that_was_cut_or_replaced_is_read_from_the_start(tmp_path: Path, how: str) -> None:
    home = make_home(tmp_path / "a", "id-a", *(round_of("id-a", number, {}) for number in (1, 2, 3)))
    other = make_home(tmp_path / "b", "id-b", round_of("id-b", 7, {}))
    watched = Following([home])
    watched.read_new()
    file, fresh = home / HISTORY_FILE, (other / HISTORY_FILE).read_bytes()
    match how:
        case "cut":
            file.write_bytes(fresh)
        case "cut and longer":
            longer = make_home(
                tmp_path / "c", "id-c", *(round_of("id-c", n, {}) for n in range(7, 20)), name="x" * 30
            )
            file.write_bytes((longer / HISTORY_FILE).read_bytes())
        case _:
            (other / HISTORY_FILE).replace(file)
    new = watched.read_new()
    assert new.restarted
    assert rounds(new)[0] == 7
    assert not watched.read_new().restarted


def test_a_repeated_run_with_records_of_equal_length_counts_as_replaced(tmp_path: Path) -> None:
    # A simulation that is repeated writes records of the same lengths; only their times differ.
    home = tmp_path / "a"
    home.mkdir()
    append_records(home, "id-a", round_of("id-a", 1, {}), at_s=100.0)
    watched = Following([home])
    watched.read_new()
    again = tmp_path / "again"
    again.mkdir()
    append_records(again, "id-a", round_of("id-a", 1, {}), round_of("id-a", 2, {}), at_s=200.0)
    (home / HISTORY_FILE).write_bytes((again / HISTORY_FILE).read_bytes())
    new = watched.read_new()
    assert new.restarted
    assert rounds(new) == [1, 2]


def test_when_one_file_is_replaced_all_are_read_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_home(tmp_path / name, f"id-{name}", round_of(f"id-{name}", 1, {}))
    watched = Following([tmp_path])
    watched.read_new()
    (tmp_path / "b" / HISTORY_FILE).write_bytes(b"")
    new = watched.read_new()
    assert new.restarted
    assert {entry.record.peer for entry in new.entries} == {"id-a"}


def test_homes_that_appear_later_are_found(tmp_path: Path) -> None:
    make_home(tmp_path / "peers" / "a", "id-a", round_of("id-a", 1, {}))
    watched = Following([tmp_path])
    watched.read_new()
    make_home(tmp_path / "peers" / "b", "id-b", round_of("id-b", 9, {}))
    assert [number for _ in range(6) for number in rounds(watched.read_new())] == [9]


def test_a_long_history_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_home(tmp_path / "a", "id-a", *(round_of("id-a", number, {"id-b": 0.5}) for number in range(100)))
    monkeypatch.setattr(following, "_CHUNK", 3000)
    monkeypatch.setattr(following, "_AT_ONCE", 6000)
    watched = Following([tmp_path])
    first = watched.read_new()
    assert 0 < len(rounds(first)) < 100
    assert first.behind > 0
    rest = all_entries(watched)
    assert len(first.entries) + len(rest) == 101
    assert watched.troubles == ()


def test_a_record_larger_than_a_chunk_is_never_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    add(home / HISTORY_FILE, b"\xdb\x7f\xff\xff\xff" + b"x" * 9000)  # a text of 2 GB begins
    monkeypatch.setattr(following, "_CHUNK", 3000)
    watched = Following([home])
    assert len(all_entries(watched)) == 2
    assert len(watched.troubles) == 1

    def again(_: bytes) -> NoReturn:
        pytest.fail("read again")

    monkeypatch.setattr(following, "decoded", again)
    add(home / HISTORY_FILE, b"y" * 5000)
    assert watched.read_new() == NewEntries((), restarted=False, behind=0)


def test_a_file_that_two_paths_lead_to_is_read_once(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    assert rounds(Following([tmp_path, home, home / HISTORY_FILE]).read_new()) == [1]


def test_a_deleted_file_has_no_new_entries(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a", "id-a", round_of("id-a", 1, {}))
    watched = Following([tmp_path])
    watched.read_new()
    (home / HISTORY_FILE).unlink()
    assert watched.read_new() == NewEntries((), restarted=False, behind=0)


def test_homes_that_never_ran_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / "peers" / "a").mkdir(parents=True)
    (tmp_path / "peers" / "a" / "peer.toml").touch()
    assert Following([tmp_path]).read_new().entries == ()


def test_a_folder_with_neither_history_nor_home_is_a_user_mistake(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserMistake, match="no history"):
        Following([tmp_path])
    with pytest.raises(UserMistake, match="does not exist"):
        Following([tmp_path / "nowhere"])


def test_several_runs_of_a_simulation_are_a_user_mistake(tmp_path: Path) -> None:
    for seed in range(2):
        make_home(tmp_path / "s3" / f"seed-{seed}", "id-a", round_of("id-a", 1, {}))
    with pytest.raises(UserMistake, match=r"2 runs.*give one of s3.seed-0, s3.seed-1"):
        Following([tmp_path])
    assert rounds(Following([tmp_path / "s3" / "seed-0"]).read_new()) == [1]
