"""What a running peer shows of its work: on a terminal one line that moves, in a pipe nothing of it."""

from __future__ import annotations

import io

import msgspec
import pytest

from gossipllm.work import Progress
from peers.net.host import NetworkTraffic
from peers.run.printing.output import Pace, TerminalLines
from support.records import round_of

NOTHING = NetworkTraffic(sent={}, received={})


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def line(self) -> str:
        return self.getvalue().rpartition("\x1b[K")[2]


def step(number: int, *, phase: str = "training", steps: int = 20, speed: float = 1000.0) -> Progress:
    return Progress(request=1, phase=phase, step=number, steps=steps, loss=5.0, tokens_per_s=speed)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_time_left_is_that_of_the_steps_so_far(clock: Clock) -> None:
    pace = Pace(step(1), 0.0)

    assert pace.left_s(0.0) is None
    assert pace.goes_on(step(5), 8.0)
    assert pace.left_s(8.0) == pytest.approx(30)  # 2 s a step, 15 to go
    assert pace.left_s(11.0) == pytest.approx(27)  # seconds pass between steps, too
    assert pace.left_s(60.0) == 0


def test_another_phase_and_another_round_begin_anew() -> None:
    pace = Pace(step(5), 0.0)

    assert not pace.goes_on(step(6, phase="distilling"), 1.0)
    assert not pace.goes_on(step(1), 1.0)


def test_a_terminal_sees_steps_speed_and_time_left(clock: Clock) -> None:
    terminal = Terminal()
    lines = TerminalLines(terminal, now=clock)

    lines.progress(step(1))
    clock.s = 4.0
    lines.progress(step(3))

    assert terminal.line() == "training 3/20, loss 5.000, 1,000 tokens/s, about 34 s left"


def test_loading_shows_that_time_passes(clock: Clock) -> None:
    terminal = Terminal()
    lines = TerminalLines(terminal, now=clock)

    lines.progress(step(1, phase="model", steps=5, speed=0))
    clock.s = 12.0
    lines.status(0, NOTHING)

    assert terminal.line() == "model 1/5, 12 s"


def test_after_the_last_step_the_rest_takes_about_what_it_took_before() -> None:
    pace = Pace(step(20), 0.0)

    assert pace.line(3.0, rest_s=0.0) == "trained; measuring and merging, 3 s"
    assert pace.line(3.0, rest_s=10.0) == "trained; measuring and merging, about 7 s left"
    assert pace.line(12.0, rest_s=10.0) == "trained; measuring and merging, 12 s"


def test_a_narrow_terminal_gets_a_line_that_does_not_wrap(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()

    TerminalLines(terminal, now=clock).progress(step(1))

    assert len(terminal.line()) == 29


def test_a_pipe_gets_nothing_of_it(clock: Clock) -> None:
    pipe = io.StringIO()
    lines = TerminalLines(pipe, now=clock)

    lines.progress(step(1))
    clock.s = 5.0
    lines.status(0, NOTHING)

    assert not pipe.getvalue()


def test_the_line_of_a_round_tells_what_was_forgotten_where_it_is_measured() -> None:
    def line(forgotten: float | msgspec.UnsetType) -> str:
        terminal = Terminal()
        TerminalLines(terminal).record(round_of("a", 1, {}, forgotten=forgotten), NOTHING)
        return terminal.getvalue()

    assert "; forgotten 0.125 nats; " in line(0.125)
    assert "forgotten" not in line(msgspec.UNSET)
