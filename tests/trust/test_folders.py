"""Folders whose files belong together appear whole, and keep what is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from trust.errors import UserMistake
from trust.folders import written_folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_folder_holds_what_the_block_wrote_and_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    for text in ("old", "new"):
        with written_folder(out, key="config") as folder:
            (folder / "config").write_text(text)
            (folder / "templates").mkdir()
            (folder / "templates" / "one").write_text(text)
        (out / "mine").touch()

    assert names(out) == {"config", "mine", "templates", "templates/one"}
    assert (out / "config").read_text() == (out / "templates" / "one").read_text() == "new"
    assert names(out.parent) == {"out", *(f"out/{name}" for name in names(out))}


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config").write_text("old")

    def full() -> None:
        with written_folder(tmp_path / "out", key="config") as folder:
            (folder / "config").write_text("new")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserMistake, match="out cannot be written: No space"):
        full()

    assert names(tmp_path) == {"out", "out/config"}
    assert (tmp_path / "out" / "config").read_text() == "old"
