"""The check of a home's text: the account, or why a run would refuse it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig
from peers.commands.doctor.texts import text_of
from peers.home.config import PeerConfig


def test_a_text_is_told_with_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(corpus_file("fr").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "b.jpg").touch()

    read, left_out, windows = text_of(PeerConfig(data=DataConfig(path=str(tmp_path))))

    assert (read.level, left_out.level, windows.level) == ("ok", "warn", "ok")
    assert read.value.startswith("text: 1 file, 310 documents")
    assert left_out.value == f"left out: 1 .jpg ({tmp_path / 'b.jpg'})"


@pytest.mark.parametrize(
    ("content", "says"), [(None, "there is no file"), ("short", "tokens of text are needed")]
)
def test_a_text_that_a_run_would_refuse_fails(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_text(content)

    (found,) = text_of(PeerConfig(data=DataConfig(path=str(tmp_path / "a.txt"))))

    assert found.level == "fail"
    assert says in found.value
    assert found.cure
