"""Notices a learner that neither answers nor dies.

While it works, the learner's process sends a `Beat` every `BEAT_S` seconds from a thread of its own, however long a
training step takes. Two signs of a hang remain: no beat comes (the process is stopped, or native code holds its only
thread of Python), or beats come and the process computes nothing (its main thread waits for something that never
comes). Time is counted in ticks of a task in this process, so that a machine that slept, or a group of processes that
was stopped and continued, is not taken for a hang.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipllm.work import BEAT_S, Answer, Beat, Progress, RequestId

BUSY_CPU_S: Final = 0.05
"""Seconds of processor time between two beats from which a learner counts as computing. A beat itself takes less than
a thousandth of a second; a learner on a GPU launches kernels all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HangConfig:
    tick_s: float = BEAT_S
    """Seconds between two looks, above 0. Those between two beats."""

    silent_ticks: int = 36
    """Looks without any message after which the learner is taken for hung: three minutes. Guess: native code that keeps
    Python from running, such as a tokenizer on a large text, takes less."""

    idle_ticks: int = 180
    """Looks without computing after which it is: fifteen minutes. Guess: a download that stalls has its own deadline
    of ten seconds, and a swapping machine still computes."""

    def __post_init__(self) -> None:
        for name in ("tick_s", "silent_ticks", "idle_ticks"):
            value: float = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")


class HangWatch:
    """Counts looks at one learner process. `asked` and `heard` tell it what crosses the pipe."""

    def __init__(self, config: HangConfig) -> None:
        self._config = config
        self._open: set[RequestId] = set()
        self._silent = self._idle = 0
        self._cpu_s: float | None = None

    def asked(self, request: RequestId) -> None:
        if not self._open:
            self._silent = self._idle = 0
            self._cpu_s = None
        self._open.add(request)

    def heard(self, message: Answer | Beat) -> None:
        self._silent = 0
        if isinstance(message, Beat):
            if self._cpu_s is None or message.cpu_s - self._cpu_s >= BUSY_CPU_S:
                self._idle = 0
            self._cpu_s = message.cpu_s
            return
        self._idle = 0
        if not isinstance(message, Progress):
            self._open.discard(message.request)

    def tick(self) -> str | None:
        """A look, every `tick_s`. Returns why the learner is taken for hung, None while it is not."""
        if not self._open:
            return None
        self._silent += 1
        self._idle += 1
        for ticks, most, what in (
            (self._silent, self._config.silent_ticks, "gave no sign of life"),
            (self._idle, self._config.idle_ticks, "computed nothing"),
        ):
            if ticks > most:
                return f"it {what} for {most * self._config.tick_s:.0f} s and was ended"
        return None
