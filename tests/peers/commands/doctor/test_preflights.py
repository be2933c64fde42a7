"""The preflight of a home as findings: what a run would read, adapt and take, or why it would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig
from peers.commands.doctor.preflights import preflight_of
from peers.home.config import PeerConfig


def test_a_home_is_told_with_what_is_left_out_what_is_adapted_and_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(corpus_file("fr").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "b.jpg").touch()

    found = {
        one.value.partition(":")[0]: one
        for one in preflight_of(PeerConfig(data=DataConfig(path=str(tmp_path))), tmp_path)
    }

    assert found["left out"].level == "warn"
    assert {one.level for what, one in found.items() if what != "left out"} == {"ok"}
    assert found["text"].value.startswith("text: 1 file, 310 documents")
    assert found["left out"].value == f"left out: 1 .jpg ({tmp_path / 'b.jpg'})"
    assert {"base", "model", "adapter", "needs (estimates)", "export"} <= set(found)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "there is no file"), ("short", "tokens of text are needed")]
)
def test_a_text_that_a_run_would_refuse_fails(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_text(content)

    (found,) = preflight_of(PeerConfig(data=DataConfig(path=str(tmp_path / "a.txt"))), tmp_path)

    assert found.level == "fail"
    assert says in found.value
    assert found.cure
