"""What a peer takes: seconds from its start to its first training step, and resident memory.

    python benchmarks/peer_footprint.py [--data FILE] [--json]

Starts `gossipllm run` on the embedded model as a user would, watches its output, and reads the memory of its
two processes: the network's and the learner's. Beside the seconds to the first step stand those of processor time
that both took until then, which other load on the machine stretches less. "Idle" is after its one round: serving,
not training. A bare Python process and one that only imports torch are measured in the same run, for scale.
`idle_peer.py` measures the processor time and the traffic of an idle peer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from gossipllm.base import corpus_file
from peers.core.config import RoundConfig
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.settings import write_config
from peers.identity import Identity
from peers.net.config import NetworkConfig

FIRST_STEP_S, NETWORK_MB, LEARNER_MB = 6.0, 90, 450


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=corpus_file("fr"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {
        "help_s": _seconds(sys.executable, "-m", "gossipllm.cli", "--help"),
        "bare_python_mb": _memory_mb("pass"),
        "torch_mb": _memory_mb("import torch"),
        **_peer(options.data),
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(f"gossipllm --help                          {figures['help_s']:.2f} s")
    print(f"start to listening                        {figures['listening_s']:.2f} s")
    print(
        f"start to the first training step done     {figures['first_step_s']:.2f} s   aim {FIRST_STEP_S:.0f} s"
    )
    print(f"  of processor time, both processes       {figures['first_step_cpu_s']:.2f} s")
    print("resident memory, MB          network   learner   together")
    for name in ("training", "idle"):
        network, learner = figures[f"{name}_network_mb"], figures[f"{name}_learner_mb"]
        print(f"  {name:<26} {network:>7.0f}   {learner:>7.0f}   {network + learner:>8.0f}")
    print(f"  aims                       {NETWORK_MB:>7}   {LEARNER_MB:>7}")
    print(
        f"for scale: bare Python {figures['bare_python_mb']:.0f} MB, Python with torch {figures['torch_mb']:.0f} MB"
    )


def _peer(data: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.folder.mkdir(mode=0o700)
        Identity.generate().save(home.identity)
        write_config(home.config, _config(data))
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "gossipllm.cli",
            "run",
            str(home.folder),
            "--json",
            "--stop-with-stdin",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                return _watch(process, began)
            finally:
                assert process.stdin is not None
                process.stdin.close()


def _config(data: Path) -> PeerConfig:
    from gossipllm.config import DataConfig

    return PeerConfig(
        network=NetworkConfig(listen="/ip4/127.0.0.1/tcp/0"),
        round=RoundConfig(steps=10, rounds=1, patience_s=0.0),
        data=DataConfig(path=str(data.absolute())),
    )


def _watch(process: subprocess.Popen[str], began: float) -> dict[str, float]:
    figures: dict[str, float] = {"training_network_mb": 0.0, "training_learner_mb": 0.0}
    network = psutil.Process(process.pid)
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        now = time.perf_counter() - began
        match event["event"]:
            case "listening":
                figures["listening_s"] = now
            case "progress" if event["phase"] == "training":
                if event["step"] >= 1:
                    figures.setdefault("first_step_s", now)
                    figures.setdefault("first_step_cpu_s", _processor_s(network))
                for name, memory in _both(network, "training").items():
                    figures[name] = max(figures[name], memory)
            case "round":
                return {**figures, **_both(network, "idle")}
            case _:
                """Other events are not measured."""
    raise SystemExit(f"the peer ended with {process.wait()} before its round was done")


def _processor_s(network: psutil.Process) -> float:
    used = [one.cpu_times() for one in (network, *network.children())]
    return sum(one.user + one.system for one in used)


def _both(network: psutil.Process, name: str) -> dict[str, float]:
    (learner,) = network.children()
    return {
        f"{name}_network_mb": network.memory_info().rss / 1e6,
        f"{name}_learner_mb": learner.memory_info().rss / 1e6,
    }


def _seconds(*command: str) -> float:
    """The least of five runs, because other load on the machine only adds."""
    times: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return min(times)


def _memory_mb(code: str) -> float:
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys\n{code}\nsys.stdin.read()"], stdin=subprocess.PIPE
    ) as process:
        time.sleep(0.1)
        own = psutil.Process(process.pid)
        previous = -1
        while (now := own.memory_info().rss) != previous:
            previous = now
            time.sleep(0.5)
        assert process.stdin is not None
        process.stdin.close()
    return previous / 1e6


if __name__ == "__main__":
    main()
