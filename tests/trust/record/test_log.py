"""Histories can be read by this program and by plain MessagePack, also after a crash."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.records import begun_of, entry_of, round_of
from support.wire_frames import packed, unpacked_each
from trust.record.history import VERSION, Entry, Note, Refusal, Round
from trust.record.log import decoded, read_history
from trust.record.writer import HistoryWriter, NoHistoryError


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, list[Entry]]:
    """A history of one of each kind of record."""
    records = (
        begun_of("a"),
        round_of("a", 1, {"b": 0.25, "c": 0.5}),
        Refusal(peer="a", about="b", field="update.norm", why="too large"),
        Note(peer="a", level="info", text="the learner came back"),
        round_of("a", 2, {"b": 0.5}),
    )
    entries = [entry_of(record) for record in records]
    path = tmp_path / "history.msgpack"
    with HistoryWriter(path, peer="a", now=0.0) as writer:
        for entry in entries:
            writer.append(entry)
    return path, entries


def test_written_records_are_read_again(written: tuple[Path, list[Entry]]) -> None:
    path, entries = written
    history = read_history(path)
    assert list(history.entries) == entries
    assert (history.whole, history.torn, history.why) == (path.stat().st_size, 0, "")


def test_plain_messagepack_reads_the_same_records_and_the_same_torn_one(
    written: tuple[Path, list[Entry]],
) -> None:
    path, entries = written
    for cut in (0, 1, 100):
        data = path.read_bytes()[: path.stat().st_size - cut]
        plain = [msgspec.convert(value, Entry) for value in unpacked_each(data)]
        assert plain == list(decoded(data).entries) == entries[: 5 if cut == 0 else 4]


def test_a_history_is_private(written: tuple[Path, list[Entry]]) -> None:
    path, _ = written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_is_a_history_without_records() -> None:
    history = decoded(b"")
    assert (history.entries, history.whole, history.torn, history.why) == ((), 0, 0, "")


def test_a_reader_sees_every_record_while_the_writer_lives(tmp_path: Path) -> None:
    path = tmp_path / "history.msgpack"
    with HistoryWriter(path, peer="a", now=0.0, sync=True) as writer:
        for number in range(1, 4):
            writer.append(entry_of(round_of("a", number, {})))
            assert len(read_history(path).entries) == number


def test_at_every_cut_the_whole_records_are_read_and_the_writer_goes_on(
    written: tuple[Path, list[Entry]],
) -> None:
    path, entries = written
    data = path.read_bytes()
    ends = [0]
    for entry in entries:
        ends.append(ends[-1] + len(msgspec.msgpack.encode(entry)))
    following = entry_of(round_of("a", 3, {}))
    for cut in range(len(data)):
        folder = path.parent / str(cut)
        folder.mkdir()
        torn = folder / path.name
        torn.write_bytes(data[:cut])
        count = sum(end <= cut for end in ends) - 1
        history = read_history(torn)
        assert list(history.entries) == entries[:count]
        assert (history.whole, history.torn) == (ends[count], cut - ends[count])
        assert bool(history.why) == (history.torn > 0)

        with HistoryWriter(torn, peer="a", now=9.0) as writer:
            writer.append(following)
        mended = read_history(torn)
        assert mended.torn == 0
        notes = mended.entries[count:-1]
        assert (mended.entries[:count], mended.entries[-1]) == (tuple(entries[:count]), following)
        assert [type(note.record) for note in notes] == [Note] * (cut > ends[count])
        kept = b"".join(file.read_bytes() for file in folder.glob("*.torn-*"))
        assert kept == data[ends[count] : cut]


def test_a_note_says_what_was_cut_and_where_it_is(written: tuple[Path, list[Entry]]) -> None:
    path, _ = written
    path.write_bytes(path.read_bytes()[:-3])
    whole = read_history(path).whole
    HistoryWriter(path, peer="a", now=9.0).close()
    entry = read_history(path).entries[-1]
    assert entry.at_s == 9.0
    assert isinstance(entry.record, Note)
    assert entry.record.level == "warning"
    assert f"history.msgpack.torn-{whole}" in entry.record.text


def test_zeros_that_a_loss_of_power_left_are_cut(written: tuple[Path, list[Entry]]) -> None:
    path, entries = written
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert read_history(path).torn == 4096
    HistoryWriter(path, peer="a", now=9.0).close()
    assert list(read_history(path).entries[:-1]) == entries


def test_reading_stops_at_damage_and_the_writer_keeps_what_followed(
    written: tuple[Path, list[Entry]],
) -> None:
    path, entries = written
    data = bytearray(path.read_bytes())
    second = len(msgspec.msgpack.encode(entries[0]))
    data[second] = 0xC1  # never used in MessagePack
    path.write_bytes(data)
    history = read_history(path)
    assert list(history.entries) == entries[:1]
    assert history.why == f"byte {second}: not a record"
    HistoryWriter(path, peer="a", now=9.0).close()
    assert (path.parent / f"history.msgpack.torn-{second}").read_bytes() == data[second:]


@pytest.mark.parametrize("foreign", [b"\x89PNG\r\n\x1a\n", b"{}", b"\x80", b"hello", packed({"at_s": 1})])
def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path, foreign: bytes) -> None:
    path = tmp_path / "history.msgpack"
    path.write_bytes(foreign)
    with pytest.raises(NoHistoryError, match=r"history\.msgpack cannot be continued: byte 0: "):
        HistoryWriter(path, peer="a", now=0.0)
    assert path.read_bytes() == foreign
    assert [file.name for file in tmp_path.iterdir()] == ["history.msgpack"]


@pytest.mark.parametrize("news", [{}, {"new_field": 1}])
def test_a_history_of_a_later_version_is_not_continued(
    written: tuple[Path, list[Entry]], news: dict[str, int]
) -> None:
    path, entries = written
    later = msgspec.to_builtins(entry_of(begun_of("a", version=VERSION + 1)))
    later["record"].update(news)
    data = path.read_bytes() + packed(later)
    path.write_bytes(data)
    assert list(read_history(path).entries) == entries
    with pytest.raises(NoHistoryError, match=f"of version {VERSION + 1}, and this program reads {VERSION}"):
        HistoryWriter(path, peer="a", now=0.0)
    assert path.read_bytes() == data


def test_a_history_of_the_first_version_is_read_and_continued(
    tmp_path: Path, written: tuple[Path, list[Entry]]
) -> None:
    """Its records do not say what was trained and offered, nor by which settings."""
    _, entries = written
    path = tmp_path / "old.msgpack"
    newer = ("tokens_total", "samples_total", "offered", "window", "importance", "absorbed")
    newer += ("program", "trust", "alpha", "guarded")
    for entry in entries:
        old = msgspec.to_builtins(entry)
        for field in newer:
            old["record"].pop(field, None)
        for seen in old["record"].get("seen", ()):
            seen.pop("rank", None)
        with path.open("ab") as file:
            file.write(packed(old))
    with HistoryWriter(path, peer="a", now=0.0) as writer:
        writer.append(entry_of(begun_of("a", version=VERSION)))
    history = read_history(path)
    assert list(history.entries[:-1]) == entries
    assert history.torn == 0


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_up_to_the_first_invalid_record(data: bytes, begins_well: bool) -> None:
    data = b"\x83\xa4at_s" * begins_well + data
    history = decoded(data)
    assert history.whole + history.torn == len(data)
    assert bool(history.why) == (history.torn > 0)


def test_invalid_utf_8_is_no_record() -> None:
    data = b"\x83\xa4at_s\x00\xa7" + b"\x80" * 7 + b"\x00\x00\x00"
    assert decoded(data).torn == len(data)


def test_endless_nesting_is_no_record() -> None:
    assert decoded(b"\x91" * 100_000).torn == 100_000


def test_text_of_other_peers_is_escaped_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "history.msgpack"
    nasty = "\x1b[2J\ud800" + "x" * 300
    with HistoryWriter(path, peer="a", now=0.0) as writer:
        writer.append(entry_of(Refusal(peer="a", about=nasty, field=nasty, why=nasty)))
        writer.append(entry_of(round_of("a", 1, {"b": 0.5}, names={"b": nasty})))
        writer.append(entry_of(Note(peer="a", level="info", text=nasty * 9)))
    refusal, round_, note = (entry.record for entry in read_history(path).entries)
    assert isinstance(refusal, Refusal)
    assert isinstance(round_, Round)
    assert isinstance(note, Note)
    for text in (refusal.about, refusal.field, refusal.why, round_.seen[0].name):
        assert text.startswith("\\x1b[2J\\ud800xxx")
        assert len(text) == 200
    assert len(note.text) == 500


def test_an_entry_that_could_not_be_read_back_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "history.msgpack"
    perhaps = entry_of(msgspec.structs.replace(round_of("a", 1, {}), guard="perhaps"))
    with HistoryWriter(path, peer="a", now=0.0) as writer, pytest.raises(ValueError, match="readable again"):
        writer.append(perhaps)
    assert path.read_bytes() == b""


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.msgpack"
    write = os.write

    def first_ten_bytes(file: int, data: bytes) -> int:
        return write(file, data[:10])

    with HistoryWriter(path, peer="a", now=0.0) as writer:
        writer.append(entry_of(round_of("a", 1, {})))
        monkeypatch.setattr(os, "write", first_ten_bytes)
        with pytest.raises(OSError, match="only 10 of"):
            writer.append(entry_of(round_of("a", 2, {})))
        monkeypatch.undo()
        writer.append(entry_of(round_of("a", 3, {})))
    history = read_history(path)
    rounds = [entry.record for entry in history.entries]
    assert [record.round for record in rounds if isinstance(record, Round)] == [1, 3]
    assert len(rounds) == 2
    assert history.torn == 0


def test_closing_again_does_nothing(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.msgpack", peer="a", now=0.0)
    writer.close()
    writer.close()


def test_a_history_from_before_there_were_several_distances_can_be_read(
    written: tuple[Path, list[Entry]],
) -> None:
    path, entries = written
    old = b""
    for entry in unpacked_each(path.read_bytes()):
        for seen in entry["record"].get("seen", ()):
            seen.pop("distances", None)
        old += packed(entry)
    assert list(decoded(old).entries) == entries


def test_several_distances_round_trip() -> None:
    one = round_of("a", 1, {"b": 0.25})
    seen = msgspec.structs.replace(one.seen[0], distances=(0.5, -1.0))
    entry = entry_of(msgspec.structs.replace(one, seen=(seen,)))
    assert decoded(msgspec.msgpack.encode(entry)).entries == (entry,)
