"""What the product takes, beside its aims, measured again by one command: `make bench`.

    python benchmarks/bench.py [--only round,idle] [--json]

Each line of the table is a figure of one of the benchmarks beside this file, run in a process of its own, one after the
other; their help says what is measured and how. "times its aim" above 1 misses the aim. Seconds depend on the machine
and on what else it does, so compare lines of one run, and ratios between runs. A benchmark that fails is named with its
last line, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 900
"""For one benchmark."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: where it is in a benchmark's answer, and the aim that it should stay under."""

    what: str
    unit: str
    aim: float
    of: Callable[[Any], float]


@dataclass(frozen=True, slots=True)
class Benchmark:
    script: str
    arguments: tuple[str, ...]
    lines: tuple[Line, ...]


def _predicted_kb(reference: str, of: str = "coded_bytes") -> Callable[[Any], float]:
    return lambda made: max(one[of] for one in made if one["reference"] == reference) / 1e3


def _over(other: str, dtype: str) -> Callable[[Any], float]:
    """Seconds of fused steps over those of others."""

    def ratio(made: Any) -> float:
        one = next(one for one in made if one["dtype"] == dtype)
        return one["fused"] / one[other]

    return ratio


def _kb_of(way: str) -> Callable[[Any], float]:
    return lambda made: next(one["round_kb"] for one in made["sizes"] if one["way"] == way)


BENCHMARKS: Mapping[str, Benchmark] = {
    "round": Benchmark(
        "round_overhead.py",
        ("--no-disk",),
        (
            Line("a warm round of 4 peers x 4 MB, over raw TCP", "times", 10, lambda made: made["times_raw"]),
            Line(
                "processor of all peers for a megabyte of a round",
                "ms",
                6,
                lambda made: 1000 * made["cpu_s"] / made["exchanged_mb"],
            ),
        ),
    ),
    "pull": Benchmark(
        "pull_cost.py",
        (),
        (
            Line(
                "processor for a pulled megabyte, both ends",
                "ms",
                6,
                lambda made: made["frames of 4 records at most"],
            ),
        ),
    ),
    "idle": Benchmark(
        "idle_peer.py",
        ("--seconds", "20"),
        (
            Line("an idle peer with 3 neighbours", "% of a core", 1, lambda made: 100 * made["core"]),
            Line("the same: what it sends", "bytes/s", 500, lambda made: made["sent_bytes_s"]),
        ),
    ),
    "many": Benchmark(
        "idle_peer.py",
        ("--seconds", "20", "--neighbours", "16"),
        (Line("an idle peer with 16 neighbours sends", "bytes/s", 2_000, lambda made: made["sent_bytes_s"]),),
    ),
    "sparse": Benchmark(
        "sparse_pulls.py",
        (),
        (Line("pulls that fail, 48 peers of degree 8", "%", 0, lambda made: 100 * made["failed_share"]),),
    ),
    "sizes": Benchmark(
        "wire_sizes.py",
        ("--seeds", "0"),
        (
            Line("bytes of a round, packing normal", "kB", 120, _kb_of("normal")),
            Line("bytes of a round, packing tight", "kB", 60, _kb_of("tight")),
            Line("bytes of a round, packing sparse", "kB", 16, _kb_of("sparse")),
        ),
    ),
    "predictions": Benchmark(
        "prediction_sizes.py",
        (),
        (
            Line("predictions on the default reference set", "kB", 6, _predicted_kb("default")),
            Line("203 x 100 predictions", "kB", 40, _predicted_kb("published")),
            Line(
                "the same, tokens drawn evenly from 50,257",
                "kB",
                40,
                _predicted_kb("published", "even_tokens_bytes"),
            ),
        ),
    ),
    "disk": Benchmark(
        "disk_writes.py",
        (),
        (
            Line(
                "bytes that a round writes for one that changed",
                "times",
                2.5,
                lambda made: made["written"] / made["changed"],
            ),
        ),
    ),
    "training": Benchmark(
        "training_speed.py",
        ("--sizes", "embedded"),
        (
            Line("a step in float32, over plain passes", "times", 1 / 1.3, _over("plain", "float32")),
            Line("the same in bfloat16", "times", 1 / 1.3, _over("plain", "bfloat16")),
            Line("a step in float32, over PEFT's", "times", 1, _over("peft", "float32")),
            Line("the same in bfloat16", "times", 1, _over("peft", "bfloat16")),
        ),
    ),
    "footprint": Benchmark(
        "peer_footprint.py",
        (),
        (
            Line("`run` to the first training step", "s", 6, lambda made: made["first_step_s"]),
            Line("memory of a learner that trains", "MB", 450, lambda made: made["training_learner_mb"]),
            Line("memory of the network process", "MB", 90, lambda made: made["training_network_mb"]),
        ),
    ),
    "preflight": Benchmark(
        "preflight_cost.py",
        (),
        (
            Line(
                "`init` with 100 MB of text, 1.2 billion weights",
                "s",
                10,
                lambda made: made["init"]["wall_s"],
            ),
            Line("the same: memory", "MB", 400, lambda made: made["init"]["mb"]),
        ),
    ),
    "world": Benchmark(
        "world_speed.py",
        (),
        (Line("1,000 simulated peers x 20 rounds", "s", 10, lambda made: made["wall_s"]),),
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    unit: str
    aim: float
    value: float | None
    failure: str = ""


def figures_of(benchmark: Benchmark) -> list[Figure]:
    """Runs one benchmark. What it writes to its error output, such as progress, is shown as it comes."""
    command = [
        sys.executable,
        str(Path(__file__).with_name(benchmark.script)),
        *benchmark.arguments,
        "--json",
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return [Figure(one.what, one.unit, one.aim, None, f"over {LIMIT_S} s") for one in benchmark.lines]
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode:
        why = f"{benchmark.script} ended with {done.returncode}"
        return [Figure(one.what, one.unit, one.aim, None, why) for one in benchmark.lines]
    made = json.loads(last)
    return [Figure(one.what, one.unit, one.aim, one.of(made)) for one in benchmark.lines]


def told(figure: Figure) -> str:
    if figure.value is None:
        return f"{figure.what:48} {figure.failure}"
    beside = f"aim {figure.aim:>6.4g}"
    if figure.aim:
        beside += f"   {figure.value / figure.aim:>5.2f} times its aim"
    return f"{figure.what:48} {figure.value:>9.4g} {figure.unit:11} {beside}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="some of " + ", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        parser.error(f"--only: no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    made: list[Figure] = []
    for name in chosen:
        began = time.perf_counter()
        found = figures_of(BENCHMARKS[name])
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
        made += found
        if not options.json:
            print("\n".join(told(one) for one in found), flush=True)
    if options.json:
        print(
            json.dumps(
                [{"what": one.what, "unit": one.unit, "aim": one.aim, "value": one.value} for one in made]
            )
        )
    sys.exit(any(one.value is None for one in made))


if __name__ == "__main__":
    main()
