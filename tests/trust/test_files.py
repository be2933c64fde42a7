"""Files that appear whole or not at all, and who may read them."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from trust.errors import UserMistake
from trust.files import (
    KEPT_ASIDE,
    keep_aside,
    make_private_folder,
    may_pass,
    opened_private,
    remove_unfinished,
    write_output,
    write_whole,
)

Writer = Callable[[Path, Callable[[BinaryIO], object]], None]


def half(file: BinaryIO) -> None:
    file.write(b"half")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("write", [write_whole, write_output])
def test_a_failed_write_leaves_the_earlier_file_and_no_other(
    tmp_path: Path, write: Callable[[Path, Callable[[BinaryIO], object]], None]
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"before")
    with pytest.raises((OSError, UserMistake), match="No space left"):
        write(path, half)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"table.csv": b"before"}


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "table.csv"
    with pytest.raises(UserMistake, match=r"table\.csv cannot be written: No such file"):
        write_output(path, lambda file: file.write(b"x"))


def test_a_private_file_is_never_open_to_others(tmp_path: Path) -> None:
    modes: list[int] = []

    def write(file: BinaryIO) -> None:
        modes.append(os.fstat(file.fileno()).st_mode & 0o777)

    path = tmp_path / "key"
    path.write_bytes(b"")
    path.chmod(0o644)
    write_whole(path, write, mode=0o600)
    assert modes == [0o600]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_leftover_of_a_killed_process_is_replaced_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    (tmp_path / f".key.{os.getpid()}.part").symlink_to(elsewhere)
    write_whole(tmp_path / "key", lambda file: file.write(b"secret"))
    assert elsewhere.read_bytes() == b"untouched"
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_what_a_killed_process_left_goes_with_the_next_write_of_that_file(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f".key.{gone.pid}.part", f".other.{gone.pid}.part", f".key.{os.getppid()}.part"):
        (tmp_path / name).write_bytes(b"half")

    write_whole(tmp_path / "key", lambda file: file.write(b"secret"))

    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"key", f".other.{gone.pid}.part", f".key.{os.getppid()}.part"}


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_private_files_and_folders_are_their_owners_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    make_private_folder(tmp_path / "a" / "b")
    write_whole(tmp_path / "a" / "b" / "key", lambda file: file.write(b"x"), mode=0o600)
    os.close(opened_private(tmp_path / "a" / "log", os.O_WRONLY | os.O_APPEND))

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "key": 0o600, "log": 0o600}


def test_a_private_file_that_was_open_to_others_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    (tmp_path / "log").chmod(0o644)
    os.close(opened_private(tmp_path / "log", os.O_WRONLY | os.O_APPEND))
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_of_damaged_bytes_that_are_kept_the_newest_few_stay(tmp_path: Path) -> None:
    for number in range(2 * KEPT_ASIDE):
        keep_aside(tmp_path / "log", f"torn-{number}", b"%d" % number)
        os.utime(tmp_path / f"log.torn-{number}", (number, number))
    (tmp_path / "log.tornado").touch()

    kept = {f"log.torn-{number}" for number in range(KEPT_ASIDE, 2 * KEPT_ASIDE)}
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "log.tornado"}


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EMFILE, True),
        (errno.EROFS, False),
        (errno.EIO, False),
    ],
)
def test_a_full_disk_may_pass_and_a_broken_one_does_not(code: int, passes: bool) -> None:
    assert may_pass(OSError(code, os.strerror(code))) == passes


def test_leftovers_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / ".state.0.77.part").write_bytes(b"half")
    (tmp_path / "state.0").write_bytes(b"whole")
    remove_unfinished(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["state.0"]


def test_a_folder_below_a_file_is_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"Not a directory: .*/file'$"):
        make_private_folder(tmp_path / "file" / "a" / "b")
