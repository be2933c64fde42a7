"""Tests of the files of a folder: which are text by their names, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gossipllm.text.reading.files import Format, found_files, source_files, suffixes
from trust.errors import UserMistake


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("some text")


def left_out(folder: Path) -> dict[str, int]:
    return {one.what: one.count for one in found_files(str(folder)).left_out}


def test_text_files_of_a_folder_are_found_in_order_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    names = ["a.txt", "B.TXT", "c/d.md", "e.Csv", "f.json", "g.jsonl.GZ", "h.parquet", "README", "2026.05.01"]
    write(tmp_path, *names)

    found = found_files(str(tmp_path))

    assert [str(file.path.relative_to(tmp_path)) for file in found.files] == sorted(names)
    assert not found.left_out
    assert {file.path.name: file.format for file in found.files}["g.jsonl.GZ"] is Format.JSON_LINES
    assert {file.path.name: file.packing for file in found.files}["g.jsonl.GZ"] == ".gz"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("._monday.txt", "hidden file"),
        (".DS_Store", "hidden file"),
        ("~$letter.txt", "hidden file"),
        (".trash/deleted.txt", "hidden or system folder"),
        (".obsidian/app.json", "hidden or system folder"),
        ("__MACOSX/a.txt", "hidden or system folder"),
        ("$RECYCLE.BIN/a.txt", "hidden or system folder"),
        ("photo.JPG", ".jpg"),
        ("page.html", ".html"),
        ("notes.txt~", ".txt~"),
        ("a.pdf.gz", ".pdf.gz"),
    ],
)
def test_hidden_and_foreign_files_are_left_out_and_counted(tmp_path: Path, name: str, why: str) -> None:
    write(tmp_path, "kept.txt", name)

    assert source_files(str(tmp_path)) == [tmp_path / "kept.txt"]
    assert left_out(tmp_path) == {why: 1}


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    write(tmp_path, "in/a.txt", "out/b.txt", "out/c.txt")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "out").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "b.txt").symlink_to(tmp_path / "out" / "b.txt")
    (tmp_path / "in" / "gone.txt").symlink_to(tmp_path / "nothing.txt")

    assert [file.name for file in source_files(str(tmp_path / "in"))] == ["a.txt", "b.txt"]
    assert left_out(tmp_path / "in") == {"link to a folder": 2, "broken link": 1}


def test_what_is_no_file_or_has_nothing_in_it_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "pipe.txt")

    assert left_out(tmp_path) == {"empty file": 1, "pipe or device file": 1}


def test_a_file_too_large_to_hold_in_memory_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(2**30 + 1)

    assert left_out(tmp_path) == {"file of more than 1 GiB": 1}


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, ".hidden", "code.py")

    assert source_files(str(tmp_path / ".hidden")) == [tmp_path / ".hidden"]
    assert source_files(str(tmp_path / "code.py")) == [tmp_path / "code.py"]


@pytest.mark.parametrize("path", ["", " ", "\t", "\n"])
def test_an_empty_path_is_refused_rather_than_taken_for_the_current_folder(path: str) -> None:
    with pytest.raises(UserMistake, match="--data is empty"):
        found_files(path, "--data")


@pytest.mark.parametrize("name", ["none.txt", "none/there.txt", "a.txt/below", "nul\0.txt", "x" * 300])
def test_a_path_that_leads_nowhere_says_so_in_one_line(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.txt")

    with pytest.raises(UserMistake) as caught:
        found_files(str(tmp_path / name))

    assert "\n" not in str(caught.value)


def test_a_folder_without_text_says_what_it_holds_instead(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg", ".c.txt")

    with pytest.raises(UserMistake) as caught:
        source_files(str(tmp_path))

    assert "holds no text; left out: 1 hidden file" in str(caught.value)
    assert "2 .jpg" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.txt", (".txt", "")),
        ("a.JSONL.gz", (".jsonl", ".gz")),
        ("a.gz", ("", ".gz")),
        ("README", ("", "")),
        (".bashrc", ("", "")),
        ("1.2.2026", ("", "")),
        ("Dr. Frank writes", ("", "")),
        ("a.b.md", (".md", "")),
    ],
)
def test_suffixes_have_letters_and_stand_behind_a_name(name: str, found: tuple[str, str]) -> None:
    assert suffixes(name) == found


def test_a_name_that_is_not_utf8_can_be_read_and_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_text("text")

    found = found_files(str(tmp_path))

    assert len(found.files) == 1
    found.left_out[0].line(names=True).encode("utf-8")
