"""Builders of runs to report on: homes of peers, and the results of a simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sim.comparison.summary import compared
from sim.experiments.metrics import PeerEnd, RunMetrics, run_metrics
from sim.experiments.results import write_json
from trust.record.history import HISTORY_FILE, Begun, Entry, Record, Round, Seen, Traffic
from trust.record.log import HistoryWriter

NAMES = ("anna", "bert", "carl")


def _row(index: int, number: int, shift: float = 0.0) -> dict[int, float]:
    """What peer `index` of three takes from the two others in a round: something else in each."""
    left, right = (index + 1) % 3, (index + 2) % 3
    return {left: 0.1 + 0.02 * number + shift, right: 0.05}


def _round(index: int, number: int, weights: Mapping[int, float], **changes: object) -> Round:
    seen = tuple(
        Seen(
            peer=f"id-{NAMES[j]}",
            name=NAMES[j],
            its_round=number,
            age=1,
            distance=0.25 + j,
            error=0.125,
            weight=weight,
            tokens=100,
        )
        for j, weight in weights.items()
    )
    record = Round(
        peer=f"id-{NAMES[index]}",
        round=number,
        self_weight=1 - sum(weights.values()),
        seen=seen,
        train_loss=3.0,
        trust_alone=3.0 - 0.1 * number,
        trust_merged=2.9 - 0.1 * number,
        test_alone=3.5 - 0.1 * number - index,
        test_merged=3.25 - 0.1 * number - index,
        temperature=0.25,
        tried=((0.25, 2.9),),
        guard="taken",
        tokens=100,
        samples=10,
        steps=5,
        train_s=2.0,
        gather_s=0.5,
        merge_s=0.25,
        discarded=0.0,
    )
    return msgspec.structs.replace(record, **changes)


def _begun(index: int, *, name: str | None = None) -> Begun:
    return Begun(
        peer=f"id-{NAMES[index]}",
        name=NAMES[index] if name is None else name,
        round=0,
        base="ba5e",
        tokenizer="70c3",
        reference="4ef0",
        layout="1a40",
        strategy="predictions",
        merge="svd",
        test_loss=4.0,
        program="1.2.3",
    )


def _write_history(file: Path, records: list[Record]) -> Path:
    """Every record comes with a kilobyte more sent than the one before it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with HistoryWriter(file, peer="", now=0.0) as writer:
        for step, record in enumerate(records):
            traffic = Traffic(sent={"blob": 1000 * step}, received={"blob": 10 * step})
            writer.append(Entry(at_s=1e9 + step, traffic=traffic, record=record))
    return file


@pytest.fixture
def row() -> Callable[..., dict[int, float]]:
    return _row


@pytest.fixture
def make_round() -> Callable[..., Round]:
    return _round


@pytest.fixture
def make_begun() -> Callable[..., Begun]:
    return _begun


@pytest.fixture
def write_history() -> Callable[..., Path]:
    return _write_history


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """Three homes with four rounds each, rounds 0 to 3; anna's configuration holds an address."""
    folder = tmp_path / "demo"
    for index, name in enumerate(NAMES):
        home = folder / "peers" / name
        _write_history(
            home / HISTORY_FILE,
            [_begun(index), *(_round(index, n, _row(index, n)) for n in range(4))],
        )
        (home / "peer.toml").write_text(
            f'[peer]\n# What others see.\nname = "{name}"\n\n[network]\n'
            '# /ip4/ADDRESS/tcp/PORT or /ip6/...\nlisten = "/ip4/192.0.2.7/tcp/4001"\n'
        )
        (home / "identity.key").write_bytes(b"a private key")
    return folder


@dataclass(frozen=True)
class Simulation:
    """Results of two methods and two seeds; the second method's rows are shifted by its seed."""

    folder: Path
    records: dict[tuple[str, int], list[Round]] = field(default_factory=dict)


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    made = Simulation(tmp_path / "languages")
    runs: list[RunMetrics] = []
    for method in ("local", "s1*s3"):
        for seed in (0, 1):
            folder = made.folder / method.replace("*", "x") / f"seed-{seed}"
            records = [
                _round(i, n, {} if method == "local" else _row(i, n, 0.1 * seed))
                for n in range(3)
                for i in range(3)
            ]
            made.records[method, seed] = records
            _write_history(folder / HISTORY_FILE, [*(_begun(i) for i in range(3)), *records])
            runs.append(_metrics(method, seed, records))
            write_json(folder / "metrics.json", runs[-1])
    comparison = compared(
        runs, scenario="languages", peers=3, rounds=3, about={"local": "alone", "s1*s3": "both <together>"}
    )
    write_json(made.folder / "table.json", comparison)
    write_json(made.folder / "versions.json", ["gossipllm 1.2.3", "python 3.11"])
    (made.folder / "scenario.toml").write_text('# Three of them.\nname = "languages"\n')
    return made


def _metrics(method: str, seed: int, records: list[Round]) -> RunMetrics:
    ends = [
        PeerEnd(
            peer=f"id-{name}",
            name=name,
            category=("fr", "fr", "de")[i],
            base_loss=4.0,
            rounds=tuple(one for one in records if one.peer == f"id-{name}"),
            sent={"blob": 1},
            received={"blob": 1},
        )
        for i, name in enumerate(NAMES)
    ]
    return run_metrics(
        ends,
        np.eye(3),
        method=method,
        seed=seed,
        finished=True,
        virtual_s=1.0,
        trace="00",
        forward={"train": 1},
        backward={"train": 1},
    )
