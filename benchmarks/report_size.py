"""Measures the size of a report and the time to write it, on random rows of a fully connected network.

    python benchmarks/report_size.py [--peers 9] [--rounds 50] [--most 3.0] [--out FILE]

Every peer has every other peer in each round's row, with a distance and its standard error only. Other fields make a
history larger but hardly the report, which leaves most of them out. Exits with an error if the report has more
megabytes than `--most`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from made_records import MadePeers

from sim.reporting.collecting import collect
from sim.reporting.page import page
from trust.progress import SilentStages
from trust.record.history import HISTORY_FILE
from trust.record.writer import HistoryWriter


def make_run(folder: Path, count: int, rounds: int) -> None:
    """Write homes of `count` peers with `rounds` rounds each."""
    peers = MadePeers(count, lean=True)
    for peer, its_id in enumerate(peers.ids):
        home = folder / peers.name(peer)
        home.mkdir()
        with HistoryWriter(home / HISTORY_FILE, peer=its_id, now=0.0) as writer:
            for number in range(rounds + 1):
                record = peers.round(peer, number) if number else peers.begun(peer)
                writer.append(peers.entry(record, at_s=1e9 + 60 * number, rounds=number))


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
        document = collect(run, SilentStages(), config=True)
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
