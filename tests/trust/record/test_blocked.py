"""The block list on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from trust.errors import UserMistake
from trust.record.blocked import BLOCKED_FILE, MAX_BLOCKED, BlockedPeer, read_blocked, write_blocked

MALLORY = BlockedPeer(peer="12D3M", name="mallory", why="spoils", at_s=1.0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_blocked(tmp_path) == {}
    write_blocked(tmp_path, [MALLORY])
    assert read_blocked(tmp_path) == {"12D3M": MALLORY}
    assert (tmp_path / BLOCKED_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 2, "peers": []}', '{"version": 1, "peers": [{"peer": ""}]}', "\xff"]
)
def test_a_list_that_cannot_be_read_is_named_and_not_taken_for_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / BLOCKED_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserMistake, match=r"blocked\.json is no block list"):
        read_blocked(tmp_path)


def test_a_list_has_an_end_and_the_earlier_one_stays(tmp_path: Path) -> None:
    write_blocked(tmp_path, [MALLORY])
    with pytest.raises(UserMistake, match="unblock some first"):
        write_blocked(tmp_path, [BlockedPeer(peer=str(number)) for number in range(MAX_BLOCKED + 1)])
    assert read_blocked(tmp_path) == {"12D3M": MALLORY}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"blocked\.json cannot be written"):
        write_blocked(tmp_path / "nowhere", [MALLORY])
