"""Measures the cost of `gossipllm trust watch` while nine peers write a round every second.

    python benchmarks/trust_watch.py [--peers 9] [--seconds 20] [--every 1] [--size 80x24] [--before 50]

The command runs in a pseudo-terminal, as its users run it. A thread of this program appends a round of each peer every
second, and occasionally a refusal, to histories that already hold `--before` rounds. Measured after the start, whose
cost is printed separately: processor seconds of the watching process per second of wall time, and the number of updates
drawn, which are bursts of bytes to the terminal with at least a tenth of a second between them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import psutil
from made_records import MadePeers

from trust.record.history import HISTORY_FILE, Record, Refusal
from trust.record.writer import HistoryWriter

TARGET = 0.05
SETTLE_S = 4.0
"""Seconds until imports are done, the view is drawn and the existing records are read."""

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
        homes = Homes(Path(folder), asked.peers)
        for _ in range(asked.before):
            homes.write()
        over = threading.Event()
        writer = threading.Thread(target=write_every_second, args=(homes, over))
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
    """Start the command in a new pseudo-terminal. Returns the process and our end of the terminal."""
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
    """Read the terminal for `seconds`. Returns the number of bursts and of bytes.

    The terminal must be read throughout, or its writer blocks.
    """
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


def write_every_second(homes: Homes, over: threading.Event) -> None:
    while not over.wait(1.0):
        homes.write()


class Homes:
    """Homes of `count` peers, to whose histories rounds are appended."""

    def __init__(self, folder: Path, count: int) -> None:
        self._made = MadePeers(count, guards=("taken", "shrunk", "refused"))
        self._round = 0
        self._writers: list[HistoryWriter] = []
        for number, peer in enumerate(self._made.ids):
            home = folder / "peers" / peer
            home.mkdir(parents=True)
            self._writers.append(HistoryWriter(home / HISTORY_FILE, peer=peer, now=time.time()))
            self._append(number, self._made.begun(number))

    def write(self) -> None:
        """Append a round of each peer, and a refusal of one peer in ten."""
        self._round += 1
        ids, rng = self._made.ids, self._made.rng
        for number, peer in enumerate(ids):
            self._append(number, self._made.round(number, self._round))
            if rng.random() < 0.1:
                about = rng.choice(ids)
                self._append(
                    number, Refusal(peer=peer, about=about, field="adapter", why="norm out of bounds")
                )

    def _append(self, number: int, record: Record) -> None:
        self._writers[number].append(self._made.entry(record, at_s=time.time(), rounds=self._round))


if __name__ == "__main__":
    main()
