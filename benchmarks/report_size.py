"""The size of a report, and how long it takes: random rows, of a network where all see all.

    python benchmarks/report_size.py [--peers 9] [--rounds 50] [--most 3.0] [--out FILE]

Every peer sees every other in every round, with a distance and its standard error. Ends with an error where the page
has more megabytes than `--most`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gossipllm.tasks.progress import Quiet
from sim.reporting.collecting import collect
from sim.reporting.page import page
from trust.history import HISTORY_FILE, Begun, Entry, Record, Round, Seen, Traffic
from trust.log import HistoryWriter


def make_run(folder: Path, peers: int, rounds: int) -> None:
    """Homes of that many peers, with that many rounds in each."""
    rng = np.random.default_rng(0)
    names = [f"12D3KooW{number:044}" for number in range(peers)]
    for index, peer in enumerate(names):
        home = folder / f"peer-{index}"
        home.mkdir()
        with HistoryWriter(home / HISTORY_FILE, peer=peer, now=0.0) as writer:
            writer.append(_entry(0, _begun(peer, home.name)))
            for number in range(rounds):
                writer.append(_entry(number + 1, _round(rng, index, names, number)))


def _begun(peer: str, name: str) -> Begun:
    return Begun(
        peer=peer,
        name=name,
        round=0,
        base="0" * 64,
        tokenizer="1" * 64,
        reference="2" * 64,
        layout="3" * 64,
        strategy="predictions",
        merge="svd",
        test_loss=7.0,
        program="0",
    )


def _round(rng: np.random.Generator, index: int, names: list[str], number: int) -> Round:
    row = rng.dirichlet(np.ones(len(names)))
    losses = rng.uniform(1, 5, 5)
    seconds = rng.uniform(0.1, 30, 3)
    seen = tuple(
        Seen(
            peer=peer,
            name=f"peer-{other}",
            its_round=number,
            age=int(rng.integers(0, 3)),
            distance=float(rng.uniform(0, 2)),
            error=float(rng.uniform(0, 0.1)),
            weight=float(row[other]),
            tokens=10_240,
        )
        for other, peer in enumerate(names)
        if other != index
    )
    return Round(
        peer=names[index],
        round=number,
        self_weight=float(row[index]),
        seen=seen,
        train_loss=float(losses[0]),
        trust_alone=float(losses[1]),
        trust_merged=float(losses[2]),
        test_alone=float(losses[3]),
        test_merged=float(losses[4]),
        temperature=0.25,
        tried=((0.25, float(losses[2])), (None, float(losses[1]))),
        guard="taken",
        tokens=10_240,
        samples=160,
        steps=20,
        train_s=float(seconds[0]),
        gather_s=float(seconds[1]),
        merge_s=float(seconds[2]),
        discarded=0.1,
    )


def _entry(number: int, record: Record) -> Entry:
    moved = {"announce": 10_000 * number, "blob": 300_000 * number, "known": 300 * number}
    return Entry(at_s=1e9 + 60 * number, traffic=Traffic(sent=moved, received=moved), record=record)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--most", type=float, default=3.0, help="megabytes")
    parser.add_argument("--out", type=Path, help="keep the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        make_run(run, options.peers, options.rounds)
        history = sum(file.stat().st_size for file in run.rglob(HISTORY_FILE))
        began = time.perf_counter()
        document = collect(run, Quiet(), config=True)
        read = time.perf_counter()
        data = page(document).encode()
        written = time.perf_counter()
    if options.out:
        options.out.write_bytes(data)
    held = len(document.runs[0].rounds)
    print(f"{options.peers} peers, {options.rounds} rounds, {history / 1e6:.2f} MB of history")
    print(
        f"page {len(data) / 1e6:.2f} MB with {held} rounds; read in {read - began:.2f} s, "
        f"drawn up in {written - read:.2f} s"
    )
    if len(data) > options.most * 1e6:
        sys.exit(f"more than {options.most} MB")


if __name__ == "__main__":
    main()
