"""How fast `gossipllm trust show` answers on a long run of many peers.

    python benchmarks/trust_show.py [--peers 100] [--rounds 500] [--neighbours 16] [--times 5]

Whole processes, wall time, medians; the files are in the page cache. Twice: a home for each peer, and one history of
all of them as a simulation writes it. Beside it a process that only imports what the command cannot do without: the
share of the time that reading and drawing cannot change.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from trust.history import HISTORY_FILE, Begun, Entry, Record, Round, Seen, Traffic

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
    parser.add_argument("--neighbours", type=int, default=16, help="seen in a round, as most_partners has it")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes, together = Path(folder) / "homes", Path(folder) / "together"
        size = write(homes, together, asked.peers, asked.rounds, min(asked.neighbours, asked.peers - 1))
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
    """Seconds, after one run that fills the caches."""
    return statistics.median([_timed(command) for _ in range(times + 1)][1:])


def _timed(command: tuple[str, ...]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def write(homes: Path, together: Path, peers: int, rounds: int, neighbours: int) -> int:
    """The same records in both layouts. Returns their bytes."""
    rng = random.Random(0)
    ids = [f"12D3KooW{rng.randrange(10**44):044}" for _ in range(peers)]
    together.mkdir()
    files = [homes / f"peer-{number}" / HISTORY_FILE for number in range(peers)]
    for file in files:
        file.parent.mkdir(parents=True)
    streams = [file.open("wb") for file in files]
    size = 0
    with (together / HISTORY_FILE).open("wb") as stream:
        for at_s, peer, record in records(ids, rounds, neighbours, rng):
            traffic = Traffic(
                sent={"announce": at_s, "blob": 9 * at_s, "known": at_s},
                received={"announce": at_s, "blob": 9 * at_s, "known": at_s},
            )
            data = msgspec.msgpack.encode(Entry(at_s=float(at_s), traffic=traffic, record=record))
            streams[peer].write(data)
            size += stream.write(data)
    for one in streams:
        one.close()
    return size


def records(
    ids: list[str], rounds: int, neighbours: int, rng: random.Random
) -> Iterator[tuple[int, int, Record]]:
    for peer, its_id in enumerate(ids):
        yield 0, peer, begun(its_id, f"peer-{peer}")
    for number in range(1, rounds + 1):
        for peer in range(len(ids)):
            others = rng.sample([one for one in range(len(ids)) if one != peer], neighbours)
            yield number, peer, round_of(ids, peer, number, others, rng)


def begun(peer: str, name: str) -> Begun:
    return Begun(
        peer=peer,
        name=name,
        round=0,
        base="00" * 32,
        tokenizer="00" * 32,
        reference="00" * 32,
        layout="00" * 32,
        strategy="predictions",
        merge="svd",
        test_loss=2.5,
    )


def round_of(ids: list[str], peer: int, number: int, others: list[int], rng: random.Random) -> Round:
    """Peers of one kind, their number modulo 5, take more from each other."""
    likes = [4.0 if other % 5 == peer % 5 else rng.random() for other in others]
    seen = tuple(
        Seen(
            peer=ids[other],
            name=f"peer-{other}",
            its_round=number,
            age=0,
            distance=rng.random(),
            error=rng.random(),
            weight=like / (1 + sum(likes)),
            tokens=1000,
            rank=8,
            errors=(rng.random(),),
            own=(rng.random(),),
            samples=10,
            tokens_total=1000 * number,
            samples_total=10 * number,
        )
        for other, like in zip(others, likes, strict=True)
    )
    return Round(
        peer=ids[peer],
        round=number,
        self_weight=1 / (1 + sum(likes)),
        seen=seen,
        train_loss=2.0,
        trust_alone=2.5,
        trust_merged=2.5 - rng.random() / 10,
        test_alone=2.5,
        test_merged=2.4,
        temperature=0.5,
        tried=((0.5, 2.4), (None, 2.5)),
        guard="taken",
        tokens=1000,
        samples=10,
        steps=5,
        train_s=1.0,
        gather_s=1.0,
        merge_s=1.0,
        discarded=0.1,
        tokens_total=1000 * number,
        samples_total=10 * number,
    )


if __name__ == "__main__":
    main()
