"""What a running peer shows on standard output; `recording.py` writes its history.

The output is either lines for people or, with `--json`, one JSON object a line for programs:
`{"event": "listening" | "opened" | "progress" | "round" | "refusal" | "note" | "status", ...}`.
Strings that came from other peers are escaped and cut before a terminal sees them. What cannot be written is dropped:
a closed terminal and a full disk do not end the work.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol, TextIO

import msgspec

from gossipllm.work import Progress
from peers.core.events import PeerId
from peers.net.host import NetworkTraffic
from trust.counting import counted, in_bytes
from trust.names import escaped
from trust.record.history import Begun, Note, Record, Refusal, Round
from trust.streams import DroppingStream


class Output(Protocol):
    """A way to show a running peer. `listening` is called before the first record."""

    def listening(self, peer: PeerId, addresses: tuple[str, ...]) -> None: ...

    def record(self, record: Record, traffic: NetworkTraffic) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def status(self, neighbours: int, traffic: NetworkTraffic) -> None:
        """Called once a second."""
        ...

    @property
    def failure(self) -> str:
        """Why the last thing could not be shown; empty where it could."""
        ...


class JsonLines:
    """Output for programs. Each line is flushed, so that a reader sees it when it happens."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = DroppingStream(stream)

    def listening(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        self._line("listening", {"peer": peer, "addresses": addresses})

    def record(self, record: Record, traffic: NetworkTraffic) -> None:
        fields = msgspec.to_builtins(record)
        self._line(str(fields.pop("kind")), {**fields, **_bytes(traffic)})

    def progress(self, progress: Progress) -> None:
        fields = msgspec.to_builtins(progress)
        fields.pop("type")
        self._line("progress", fields)

    def status(self, neighbours: int, traffic: NetworkTraffic) -> None:
        self._line("status", {"neighbours": neighbours, **_bytes(traffic)})

    def _line(self, event: str, fields: dict[str, object]) -> None:
        self._stream.write(json.dumps({"event": event, **fields}) + "\n")

    @property
    def failure(self) -> str:
        return self._stream.failure


class TerminalLines:
    """Output for people: a line for each round, and on a terminal a last line that shows the current progress."""

    def __init__(self, stream: TextIO | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = DroppingStream(stream)
        self._live = self._stream.isatty()
        self._now = now
        self._neighbours = 0
        self._shown_at = -math.inf
        self._pace: Pace | None = None
        self._rest_s = 0.0

    def listening(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        self._say(f"peer {peer}")
        self._say("others join with one of:")
        for address in addresses:
            self._say(f"  gossipllm run DIR --join {address}")
        self._say("loading the model")

    def record(self, record: Record, traffic: NetworkTraffic) -> None:
        match record:
            case Begun():
                self._pace = None
                perplexity = _perplexity(record.test_loss)
                self._say(f"{record.name} begins at round {record.round}; test perplexity {perplexity}")
            case Round():
                self._pace, self._rest_s = None, record.gather_s + record.merge_s
                self._say(_round_line(record, self._neighbours, traffic))
            case Refusal():
                about, field, why = (escaped(text) for text in (record.about, record.field, record.why))
                self._say(f"refused of {about}: {field}: {why}")
            case Note():
                self._say(f"{'' if record.level == 'info' else record.level + ': '}{escaped(record.text)}")

    def progress(self, progress: Progress) -> None:
        if self._pace is None or not self._pace.goes_on(progress, self._now()):
            self._pace = Pace(progress, self._now())
        if self._now() - self._shown_at >= 0.2:
            self._show()

    def status(self, neighbours: int, traffic: NetworkTraffic) -> None:
        del traffic
        if neighbours != self._neighbours:
            self._say(f"neighbours: {neighbours}")
        self._neighbours = neighbours
        # The seconds that are left change without progress too.
        self._show()

    def _show(self) -> None:
        if not self._live or self._pace is None:
            return
        self._shown_at = now = self._now()
        # A line that wraps would stay on the screen.
        line = self._pace.line(now, rest_s=self._rest_s)[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"\r\x1b[K{line}")

    def _say(self, line: str) -> None:
        clear = "\r\x1b[K" if self._live else ""
        self._stream.write(f"{clear}{line}\n")

    @property
    def failure(self) -> str:
        return self._stream.failure


class Pace:
    """Estimates when the last step of a phase will be done, from the mean duration of its steps so far."""

    def __init__(self, first: Progress, now: float) -> None:
        self._first = self._last = first
        self._began = self._at = now

    def goes_on(self, progress: Progress, now: float) -> bool:
        """Take in a later step of this phase. Returns False, and changes nothing, for a step of another phase."""
        first = self._first
        alike = (first.request, first.phase, first.steps) == (
            progress.request,
            progress.phase,
            progress.steps,
        )
        if not alike or progress.step < self._last.step:
            return False
        self._last, self._at = progress, now
        return True

    def left_s(self, now: float) -> float | None:
        """Estimated seconds to the last step; None before the second step."""
        done = self._last.step - self._first.step
        if done <= 0:
            return None
        step_s = (self._at - self._began) / done
        return max(0.0, self._at + step_s * (self._last.steps - self._last.step) - now)

    def line(self, now: float, *, rest_s: float) -> str:
        """Progress for people. `rest_s` is how long the last round took after its last step, 0 without one."""
        last = self._last
        if last.phase == "training" and last.step >= last.steps:
            left_s = rest_s - (now - self._at)
            ending = f"about {_duration(left_s)} left" if left_s > 0 else _duration(now - self._at)
            return f"trained; measuring and merging, {ending}"
        parts = [f"{last.phase} {last.step}/{last.steps}"]
        if last.tokens_per_s > 0:
            parts += [f"loss {last.loss:.3f}", f"{last.tokens_per_s:,.0f} tokens/s"]
        left_s = self.left_s(now)
        parts.append(_duration(now - self._began) if left_s is None else f"about {_duration(left_s)} left")
        return ", ".join(parts)


def output_for(*, as_json: bool) -> Output:
    return JsonLines(sys.stdout) if as_json else TerminalLines(sys.stdout)


def _round_line(record: Round, neighbours: int, traffic: NetworkTraffic) -> str:
    row = [f"self {record.self_weight:.2f}"]
    row += [
        f"{escaped(seen.name or seen.peer[-6:])} {seen.weight:.2f}"
        for seen in record.seen
        if seen.weight >= 0.005
    ]
    others = Counter(seen.relation for seen in record.seen if seen.relation != "merges")
    row += [f"{relation} {others[relation]} of other bases" for relation in sorted(others)]
    seconds = record.train_s + record.gather_s + record.merge_s
    sent, received = (sum(side.values()) / 1e6 for side in (traffic.sent, traffic.received))
    return (
        f"round {record.round}: loss {record.train_loss:.3f}, test perplexity "
        f"{_perplexity(record.test_alone)} -> {_perplexity(record.test_merged)}; merge {record.guard}: "
        f"{', '.join(row)}; {_forgotten(record)}{counted(neighbours, 'neighbour')}, {seconds:.1f} s, "
        f"sent {sent:.1f} MB, got {received:.1f} MB{_cost(record)}"
    )


def _cost(record: Round) -> str:
    cost = record.cost
    if isinstance(cost, msgspec.UnsetType):
        return ""
    memory = f", {in_bytes(cost.peak_bytes)}" if cost.peak_bytes else ""
    return f"; {cost.joules:.3g} J ({cost.method}), {cost.processor_s:.1f} processor s{memory}"


def _forgotten(record: Round) -> str:
    forgotten = record.forgotten
    return "" if isinstance(forgotten, msgspec.UnsetType) else f"forgotten {forgotten:.3f} nats; "


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _perplexity(loss: float) -> str:
    return f"{math.exp(min(loss, 50)):.2f}"


def _bytes(traffic: NetworkTraffic) -> dict[str, object]:
    return {"sent": dict(traffic.sent), "received": dict(traffic.received)}
