"""What `gossipllm trust watch` costs while nine peers write a round a second.

    python benchmarks/trust_watch.py [--peers 9] [--seconds 20] [--every 1] [--size 80x24] [--before 50]

The command runs as its users run it, in a pseudo-terminal; a thread here appends a round of each peer every second to
histories that hold `--before` rounds already, and a refusal now and then. Counted after the start (its cost is
printed apart): processor seconds of the watching process over seconds of the wall, and the updates drawn, which are
bursts of bytes to the terminal with a tenth of a second of silence between them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import random
import select
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import psutil

from trust.history import HISTORY_FILE, Begun, Entry, Record, Refusal, Round, Seen, Traffic
from trust.log import HistoryWriter

TARGET = 0.05
SETTLE_S = 4.0
"""Until the imports are done, the view stands and all that was there before is read."""

SILENCE_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--size", default="80x24", help="columns x lines")
    parser.add_argument("--before", type=int, default=50, help="rounds in the histories at the start")
    asked = parser.parse_args()
    columns, lines = map(int, asked.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        peers = Peers(Path(folder), asked.peers)
        for _ in range(asked.before):
            peers.write()
        over = threading.Event()
        writer = threading.Thread(target=write_every_second, args=(peers, over))
        writer.start()
        try:
            measure(Path(folder), asked.seconds, asked.every, (columns, lines))
        finally:
            over.set()
            writer.join()


def measure(folder: Path, seconds: float, every_s: float, size: tuple[int, int]) -> None:
    process, terminal = started(folder, every_s, size)
    try:
        drain(terminal, SETTLE_S)
        begin, start = time.perf_counter(), used(process)
        bursts, written = drain(terminal, seconds)
        wall, cpu = time.perf_counter() - begin, used(process) - start
    finally:
        os.write(terminal, b"q")
        drain(terminal, 1.0)
        process.wait(10)
    print(f"start              {start:7.2f} s of a core")
    print(f"watching           {cpu:7.2f} s of a core in {wall:.1f} s")
    print(f"share of a core    {100 * cpu / wall:7.2f} % (aim: under {100 * TARGET:.0f} %)")
    print(f"updates drawn      {bursts:7d}, {written / max(bursts, 1):,.0f} bytes each")


def started(folder: Path, every_s: float, size: tuple[int, int]) -> tuple[psutil.Process, int]:
    """The command in a terminal of its own, and our end of that."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = (
            sys.executable,
            "-m",
            "gossipllm.cli",
            "trust",
            "watch",
            str(folder),
            "--every",
            str(every_s),
        )
        os.execve(sys.executable, command, {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    return psutil.Process(pid), terminal


def drain(terminal: int, seconds: float) -> tuple[int, int]:
    """(Bursts, bytes) that came within `seconds`. A terminal must be read, or its writer stands still."""
    until, last, bursts, written = time.perf_counter() + seconds, 0.0, 0, 0
    while (left := until - time.perf_counter()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            break
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:
            break
        now = time.perf_counter()
        bursts += now - last > SILENCE_S
        last, written = now, written + len(data)
    return bursts, written


def used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def write_every_second(peers: Peers, over: threading.Event) -> None:
    while not over.wait(1.0):
        peers.write()


class Peers:
    """Nine homes, or as many as asked for, whose weights move by chance."""

    def __init__(self, folder: Path, count: int) -> None:
        self._rng = random.Random(0)
        self._ids = [f"12D3KooW{number:044d}" for number in range(count)]
        self._round = 0
        self._writers: list[HistoryWriter] = []
        for peer in self._ids:
            home = folder / "peers" / peer
            home.mkdir(parents=True)
            self._writers.append(HistoryWriter(home / HISTORY_FILE, peer=peer, now=time.time()))
        for number in range(count):
            self._append(number, begun(self._ids[number], f"peer-{number}"))

    def write(self) -> None:
        """A round of each, and a refusal of one in ten."""
        self._round += 1
        for number in range(len(self._ids)):
            self._append(number, self._finished(number))
            if self._rng.random() < 0.1:
                about = self._rng.choice(self._ids)
                self._append(
                    number,
                    Refusal(peer=self._ids[number], about=about, field="adapter", why="norm out of bounds"),
                )

    def _append(self, number: int, record: Record) -> None:
        counts = {"announce": 2_000, "blob": 400_000, "known": 300, "wire": 450_000}
        total = {kind: size * self._round for kind, size in counts.items()}
        traffic = Traffic(sent=total, received=total)
        self._writers[number].append(Entry(at_s=time.time(), traffic=traffic, record=record))

    def _finished(self, number: int) -> Round:
        others = [other for other in range(len(self._ids)) if other != number]
        parts = [self._rng.random() for _ in others]
        whole = 2 * sum(parts) or 1.0
        loss = 5 + 1 / self._round + 0.1 * self._rng.random()
        return Round(
            peer=self._ids[number],
            round=self._round,
            self_weight=1 - sum(parts) / whole,
            seen=tuple(self._seen(other, part / whole) for other, part in zip(others, parts, strict=True)),
            train_loss=loss,
            trust_alone=loss,
            trust_merged=loss - 0.1 * self._rng.random(),
            test_alone=loss,
            test_merged=loss - 0.1 * self._rng.random(),
            temperature=0.5,
            tried=((0.5, loss), (None, loss)),
            guard=self._rng.choice(("taken", "shrunk", "refused")),
            tokens=10_240,
            samples=160,
            steps=20,
            train_s=0.8,
            gather_s=0.1,
            merge_s=0.1,
            discarded=0.1,
        )

    def _seen(self, other: int, weight: float) -> Seen:
        return Seen(
            peer=self._ids[other],
            name=f"peer-{other}",
            its_round=self._round,
            age=self._rng.randrange(3),
            distance=self._rng.random(),
            error=0.01,
            weight=weight,
            tokens=10_240,
        )


def begun(peer: str, name: str) -> Begun:
    return Begun(
        peer=peer,
        name=name,
        round=0,
        base="00",
        tokenizer="00",
        reference="00",
        layout="00",
        strategy="predictions",
        merge="svd",
        test_loss=6.0,
    )


if __name__ == "__main__":
    main()
