"""Runs to report on: homes of three peers, and the results of a simulation."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.comparison.summary import compared
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.results import write_json
from support.records import write_growing
from support.reported_runs import NAMES, Simulation, begun_of_index, metrics_of, round_of_index, row_of
from trust.record.history import HISTORY_FILE


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """Three homes with four rounds each, rounds 0 to 3; anna's configuration holds an address."""
    folder = tmp_path / "demo"
    for index, name in enumerate(NAMES):
        home = folder / "peers" / name
        write_growing(
            home / HISTORY_FILE,
            [begun_of_index(index), *(round_of_index(index, n, row_of(index, n)) for n in range(4))],
        )
        (home / "peer.toml").write_text(
            f'[peer]\n# What others see.\nname = "{name}"\n\n[network]\n'
            '# /ip4/ADDRESS/tcp/PORT or /ip6/...\nlisten = "/ip4/192.0.2.7/tcp/4001"\n'
        )
        (home / "identity.key").write_bytes(b"a private key")
    return folder


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    made = Simulation(tmp_path / "languages")
    runs: list[RunMetrics] = []
    for method in ("local", "s1*s3"):
        for seed in (0, 1):
            folder = made.folder / method.replace("*", "x") / f"seed-{seed}"
            records = [
                round_of_index(i, n, {} if method == "local" else row_of(i, n, 0.1 * seed))
                for n in range(3)
                for i in range(3)
            ]
            made.records[method, seed] = records
            write_growing(folder / HISTORY_FILE, [*(begun_of_index(i) for i in range(3)), *records])
            runs.append(metrics_of(method, seed, records))
            write_json(folder / "metrics.json", runs[-1])
    comparison = compared(
        runs, scenario="languages", peers=3, rounds=3, about={"local": "alone", "s1*s3": "both <together>"}
    )
    write_json(made.folder / "table.json", comparison)
    write_json(made.folder / "versions.json", ["gossipllm 1.2.3", "python 3.11"])
    (made.folder / "scenario.toml").write_text('# Three of them.\nname = "languages"\n')
    return made
