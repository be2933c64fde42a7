"""Files that appear whole or not at all, and who may read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from trust.errors import UserMistake
from trust.files import remove_unfinished, write_output, write_whole

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


def test_leftovers_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / ".state.0.77.part").write_bytes(b"half")
    (tmp_path / "state.0").write_bytes(b"whole")
    remove_unfinished(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["state.0"]
