"""Processor time of a pulled megabyte: both ends of a real connection, in one process on loopback.

    python benchmarks/pull_cost.py [--turns 9] [--json]

A peer pulls blobs of 4 MB from another through the whole stack: Noise, Yamux, the blob protocol, SHA-256. In turns,
bulk frames fill at most 1, 4 and 16 records of Noise, and the same bytes go through SHA-256, ChaCha20-Poly1305 both
ways and a pair of sockets with nothing between, which is what the machine can do at all. Figures are of the fastest
turn, since others use the machine too. The goal is 6 ms of processor a MB for both ends together.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import trio
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peers.net.stack import yamux
from wire.digest import digest_of

GOAL_MS: Final = 6.0
RECORDS: Final = (1, 4, 16)
RECORD_BYTES: Final = 65_519
BLOBS: Final = tuple(os.urandom(4_000_000) for _ in range(4))
MB: Final = sum(map(len, BLOBS)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = trio.run(_measured, options.turns)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"processor for both ends of a pull, ms a MB; goal {GOAL_MS:g}")
    for name, spent in figures.items():
        print(f"  {name:38}{spent:6.2f}{spent / figures[_BARE]:8.1f} times")


_BARE: Final = "hash, cipher and sockets alone"


async def _measured(turns: int) -> dict[str, float]:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    together: Any = importlib.import_module("support.live_networks").real_networks
    spent: dict[str, list[float]] = {}
    async with together(2, upload_bytes_s=1e9) as (asker, holder):
        digests = [holder.peer.keep(blob) for blob in BLOBS]

        async def pull() -> None:
            for digest, blob in zip(digests, BLOBS, strict=True):
                await asker.network.pull(digest, len(blob), (holder.id,))

        for _ in range(turns):
            for records in RECORDS:
                yamux.MOST_RECORDS = records  # pyright: ignore[reportConstantRedefinition]
                _begin_small(holder)
                # Frames grow before the clock starts.
                await pull()
                spent.setdefault(f"frames of {records} records at most", []).append(await _timed(pull))
            spent.setdefault(_BARE, []).append(await _timed(_bare))
    return {name: min(values) for name, values in spent.items()}


def _begin_small(member: Any) -> None:
    """As if the last frames had been slow."""
    swarm = member.network._life._host.get_network()
    for connections in swarm.connections.values():
        for one in connections:
            for _ in range(max(RECORDS)):
                one.muxed_conn.passed(0, 60.0)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.process_time()
    await work()
    return (time.process_time() - began) / MB * 1e3


async def _bare() -> None:
    cipher, nonce = ChaCha20Poly1305(bytes(32)), bytes(12)
    for blob in BLOBS:
        view = memoryview(blob)
        records = [
            cipher.encrypt(nonce, view[at : at + RECORD_BYTES], None)
            for at in range(0, len(blob), RECORD_BYTES)
        ]
        ours, theirs = socket.socketpair()
        writer = threading.Thread(target=_send, args=(ours, records))
        writer.start()
        with theirs, theirs.makefile("rb") as file:
            got = [cipher.decrypt(nonce, file.read(len(record)), None) for record in records]
        writer.join()
        digest_of(*got)


def _send(end: socket.socket, records: list[bytes]) -> None:
    with end:
        for record in records:
            end.sendall(record)


if __name__ == "__main__":
    main()
