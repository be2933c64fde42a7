"""The cost of a round beside other projects'."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from support.benchmark_scripts import load

for needed in ("hivemind_rounds", "raw_tcp"):
    load(needed)
overhead = load("round_overhead")


def test_a_comparison_with_what_is_not_installed_ends_with_one_line_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(name: str) -> None:
        assert name == "hivemind"

    monkeypatch.setattr(importlib.util, "find_spec", nowhere)
    monkeypatch.setattr(sys, "argv", ["round_overhead.py", "--against", "hivemind"])
    with pytest.raises(SystemExit) as ended:
        overhead.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hivemind is not installed: pip install hivemind")
