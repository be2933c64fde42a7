"""The account of a text, in words."""

from __future__ import annotations

import pytest

from gossipllm.text.reading.account import Tally


@pytest.mark.parametrize(
    ("what", "count", "line"),
    [
        ("hidden file", 1, "1 hidden file"),
        ("repeated document", 1_204, "1,204 repeated documents"),
        ("hidden or system folder", 2, "2 hidden or system folders"),
        ("pipe or device file", 2, "2 pipe or device files"),
        (".pdf", 3, "3 .pdf"),
        ("UTF-16 file", 2, "2 UTF-16 files"),
    ],
)
def test_what_happened_more_than_once_is_in_the_plural(what: str, count: int, line: str) -> None:
    assert Tally(what, count, "a.txt").line(names=False) == line
