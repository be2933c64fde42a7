"""Measures how long `gossipllm trust show` takes on a long run of many peers.

    python benchmarks/trust_show.py [--peers 100] [--rounds 500] [--neighbours 16] [--times 5]

Reports the median wall time of whole processes, with the files in the page cache, for two layouts: one home for each
peer, and one history of all peers as a simulation writes it. A process that only imports the command's dependencies
gives the part of the time that reading and drawing cannot change.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from made_records import MadePeers

from trust.record.history import HISTORY_FILE

TARGET_S = 0.5
BARE = (sys.executable, "-c", "import click, rich.console, numpy, msgspec")
LOADED = (
    "import sys; from gossipllm.cli import root; root(sys.argv[1:], standalone_mode=False); "
    "print('torch' in sys.modules, file=sys.stderr)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=500)
    # 16 is the default of `most_partners`.
    parser.add_argument("--neighbours", type=int, default=16, help="neighbours in each round's record")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes, together = Path(folder) / "homes", Path(folder) / "together"
        peers = MadePeers(asked.peers, neighbours=asked.neighbours)
        size = write(homes, together, peers, asked.rounds)
        print(f"{asked.peers} peers x {asked.rounds} rounds, {size / 1e6:.0f} MB of history")
        bare = median(BARE, asked.times)
        print(f"{'imports alone':<36}{bare:6.2f} s")
        middle = str(asked.rounds // 2)
        for name, path in (("a home each", homes), ("one history", together)):
            for options in ((), ("--json",), ("--round", middle), ("--order", "cluster"), ("--bytes",)):
                took = median((*shown(path), *options), asked.times)
                met = f"  (aim: under {TARGET_S} s)" if not options else ""
                print(f"{' '.join((name, *options)):<36}{took:6.2f} s, {took / bare:4.1f} times{met}")
            command = (sys.executable, "-c", LOADED, "trust", "show", str(path))
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"{name + ' loaded torch':<36}{done.stderr.split()[-1]:>6}")


def shown(path: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "gossipllm.cli", "trust", "show", str(path))


def median(command: tuple[str, ...], times: int) -> float:
    """Median seconds of `times` runs, after one run that fills the caches."""
    return statistics.median([_timed(command) for _ in range(times + 1)][1:])


def _timed(command: tuple[str, ...]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def write(homes: Path, together: Path, peers: MadePeers, rounds: int) -> int:
    """Write the same records in both layouts. Returns the bytes of one layout."""
    together.mkdir()
    files = [homes / peers.name(peer) / HISTORY_FILE for peer in range(len(peers.ids))]
    for file in files:
        file.parent.mkdir(parents=True)
    streams = [file.open("wb") for file in files]
    size = 0
    with (together / HISTORY_FILE).open("wb") as stream:
        for number in range(rounds + 1):
            for peer, own in enumerate(streams):
                record = peers.round(peer, number) if number else peers.begun(peer)
                entry = peers.entry(record, at_s=float(number), rounds=number)
                data = msgspec.msgpack.encode(entry)
                own.write(data)
                size += stream.write(data)
    for own in streams:
        own.close()
    return size


if __name__ == "__main__":
    main()
