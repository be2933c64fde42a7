"""What a log without a terminal is told of a long evaluation."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from trust.progress import progress_stages


def test_lines_tell_the_time_left_every_half_minute_and_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter([0.0, 10.0, 40.0, 50.0, 60.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    out = io.StringIO()

    with progress_stages(Console(file=out)) as stages:
        done = stages.begin("anna: writing", 40)
        for more in (10, 10, 10, 10):
            done(more)

    assert out.getvalue().splitlines() == [
        "anna: writing: 20 of 40, about 40 s left",
        "anna: writing: 40 of 40, 60 s",
    ]


def test_a_terminal_shows_a_bar() -> None:
    out = io.StringIO()

    with progress_stages(Console(file=out, force_terminal=True, width=80)) as stages:
        stages.begin("anna: writing", 4)(4)

    assert "4/4" in out.getvalue()
