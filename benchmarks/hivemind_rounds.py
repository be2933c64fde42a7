"""Rounds of hivemind's averager: what `round_overhead.py --against hivemind` sets beside this project's.

Each peer is a process with a DHT of its own and averages one float32 tensor in a group of all peers, round after round,
over loopback and without compression. A group forms as soon as it is whole. hivemind's all-reduce sends each peer's
tensor in parts: 2 (n - 1) / n of its size each way, where a peer that pulls all others' updates takes n - 1 of them. It
writes nothing to disk and signs nothing but its connections.

hivemind wants protobuf and multiprocessing otherwise than this project, so it is no dependency: install it into an
environment that holds this project too, and run the benchmark there.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

PATIENCE_S = 120
"""For the averaging of one round, on a busy machine."""


def missing() -> str | None:
    """Why hivemind cannot run here, in one line; None where it can."""
    if importlib.util.find_spec("hivemind") is None:
        return (
            "hivemind is not installed: pip install hivemind, in an environment of its own with this project"
        )
    return None


def rounds_s(*, peers: int, parameters: int, rounds: int) -> list[float]:
    """Seconds of each of `rounds` warm rounds; one more goes before them. Rounds without all peers are left out."""
    first = _start(0, peers, parameters, rounds, "")
    assert first.stdout is not None
    address = first.stdout.readline().strip()
    others = [_start(index, peers, parameters, rounds, address) for index in range(1, peers)]
    reports = [json.loads(_last_line(one)) for one in (first, *others)]
    for one in (first, *others):
        assert one.stdin is not None
        one.stdin.close()
        one.wait(30)
    ends = [max(ended for ended, _ in each) for each in zip(*reports, strict=True)]
    whole = [all(size == peers for _, size in each) for each in zip(*reports, strict=True)]
    return [after - before for (before, after), good in zip(pairwise(ends), whole[1:], strict=True) if good]


def _start(index: int, peers: int, parameters: int, rounds: int, join: str) -> subprocess.Popen[str]:
    settings = json.dumps([index, peers, parameters, rounds, join])
    command = [sys.executable, str(Path(__file__)), settings]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _last_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a hivemind peer ended with {process.wait()} before its rounds were done")
    return line


def _peer(index: int, peers: int, parameters: int, rounds: int, join: str) -> None:
    """One peer: its address where it is the first, then for each round when it ended and the size of the group."""
    import numpy as np

    # Untyped, or not installed where types are checked.
    torch: Any = importlib.import_module("torch")
    hivemind: Any = importlib.import_module("hivemind")
    tensor = torch.from_numpy(np.random.default_rng(index).standard_normal(parameters, dtype=np.float32))
    dht = hivemind.DHT(
        start=True, host_maddrs=["/ip4/127.0.0.1/tcp/0"], initial_peers=[join] if join else None
    )
    if not join:
        print(dht.get_visible_maddrs()[0], flush=True)
    averager = hivemind.averaging.DecentralizedAverager(
        [tensor],
        dht=dht,
        prefix="round-overhead",
        target_group_size=peers,
        min_group_size=peers,
        start=True,
    )
    ended: list[tuple[float, int]] = []
    for _ in range(rounds + 1):
        group = averager.step(timeout=PATIENCE_S)
        # The same clock in all processes.
        ended.append((time.perf_counter(), 0 if group is None else len(group)))
    print(json.dumps(ended), flush=True)
    sys.stdin.read()
    averager.shutdown()
    dht.shutdown()


if __name__ == "__main__":
    _peer(*json.loads(sys.argv[1]))
