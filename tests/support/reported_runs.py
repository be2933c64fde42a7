"""Runs to report on: homes of three peers, and the results of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import numpy as np

from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.measuring.peer_ends import PeerEnd, run_metrics
from support.records import RoundFields, begun_of, round_of, seen_of
from trust.record.history import Begun, Round

NAMES = ("anna", "bert", "carl")


def row_of(index: int, number: int, shift: float = 0.0) -> dict[int, float]:
    """What peer `index` of three takes from the two others in a round; it differs from round to round."""
    left, right = (index + 1) % 3, (index + 2) % 3
    return {left: 0.1 + 0.02 * number + shift, right: 0.05}


def round_of_index(
    index: int, number: int, weights: Mapping[int, float], **changes: Unpack[RoundFields]
) -> Round:
    """A round of peer `index` of three, whose losses fall from round to round."""
    fields: RoundFields = {
        "seen": tuple(
            seen_of(
                f"id-{NAMES[j]}",
                name=NAMES[j],
                its_round=number,
                age=1,
                distance=0.25 + j,
                error=0.125,
                weight=weight,
                tokens=100,
            )
            for j, weight in weights.items()
        ),
        "self_weight": 1 - sum(weights.values()),
        "train_loss": 3.0,
        "trust_alone": 3.0 - 0.1 * number,
        "trust_merged": 2.9 - 0.1 * number,
        "test_alone": 3.5 - 0.1 * number - index,
        "test_merged": 3.25 - 0.1 * number - index,
        "temperature": 0.25,
        "tried": ((0.25, 2.9),),
        "tokens": 100,
        "train_s": 2.0,
        **changes,
    }
    return round_of(f"id-{NAMES[index]}", number, {}, **fields)


def begun_of_index(index: int, *, name: str | None = None) -> Begun:
    return begun_of(
        f"id-{NAMES[index]}",
        name=NAMES[index] if name is None else name,
        base="ba5e",
        tokenizer="70c3",
        reference="4ef0",
        layout="1a40",
        test_loss=4.0,
        program="1.2.3",
    )


@dataclass(frozen=True)
class Simulation:
    """Results of two methods and two seeds; the second method's rows are shifted by its seed."""

    folder: Path
    records: dict[tuple[str, int], list[Round]] = field(default_factory=dict)


def metrics_of(method: str, seed: int, records: list[Round]) -> RunMetrics:
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
