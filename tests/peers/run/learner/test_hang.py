"""A learner that hangs is told from one that works for long."""

from __future__ import annotations

from gossipllm.work import Beat, Failed, Progress
from peers.run.learner.hang import HangConfig, HangWatch

CONFIG = HangConfig(tick_s=5.0, silent_ticks=3, idle_ticks=6)


def ticks(watch: HangWatch, count: int) -> list[str | None]:
    return [watch.tick() for _ in range(count)]


def test_a_learner_that_was_asked_nothing_may_be_silent_for_ever() -> None:
    assert set(ticks(HangWatch(CONFIG), 1000)) == {None}


def test_a_training_step_of_any_length_is_no_hang_while_the_processor_works() -> None:
    watch = HangWatch(CONFIG)
    watch.asked(1)
    for beat in range(1000):
        assert watch.tick() is None
        watch.heard(Beat(cpu_s=4.9 * beat))


def test_without_any_beat_a_learner_is_hung() -> None:
    watch = HangWatch(CONFIG)
    watch.asked(1)

    assert ticks(watch, 4) == [None, None, None, "it gave no sign of life for 15 s and was ended"]


def test_a_learner_that_beats_and_computes_nothing_is_hung_later() -> None:
    watch = HangWatch(CONFIG)
    watch.asked(1)
    said: list[str | None] = []
    for beat in range(10):
        watch.heard(Beat(cpu_s=3.0 + 0.001 * beat))
        said.append(watch.tick())

    assert said.index("it computed nothing for 30 s and was ended") >= 6


def test_an_answer_ends_the_watch_and_the_next_request_begins_it_again() -> None:
    watch = HangWatch(CONFIG)
    watch.asked(1)
    ticks(watch, 3)
    watch.heard(Failed(request=1, why="", users_fault=False))
    assert set(ticks(watch, 100)) == {None}

    watch.asked(2)

    assert ticks(watch, 3) == [None] * 3


def test_progress_is_no_answer() -> None:
    watch = HangWatch(CONFIG)
    watch.asked(1)
    watch.heard(Progress(request=1, phase="training", step=1, steps=9, loss=0.0, tokens_per_s=0.0))

    assert ticks(watch, 4)[-1] is not None
