"""Builders of the records that a run leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trust.record.history import HISTORY_FILE, Begun, Entry, Record, Round, Seen, Traffic
from trust.record.log import HistoryWriter

MakeRound = Callable[..., Round]
MakeEntry = Callable[[Record], Entry]
MakeHome = Callable[..., Path]


@pytest.fixture
def make_entry() -> MakeEntry:
    return lambda record: Entry(at_s=1.5, traffic=Traffic(sent={"blob": 7}, received={}), record=record)


@pytest.fixture
def make_round() -> MakeRound:
    """`make_round("a", 1, {"b": 0.25})`: peer a keeps what it does not take from others."""

    def make(
        peer: str, number: int, weights: Mapping[str, float], *, names: Mapping[str, str] | None = None
    ) -> Round:
        seen = tuple(
            Seen(
                peer=other,
                name=(names or {}).get(other, other.upper()),
                its_round=number,
                age=0,
                distance=0.5,
                error=0.1,
                weight=weight,
                tokens=1000,
            )
            for other, weight in weights.items()
        )
        return Round(
            peer=peer,
            round=number,
            self_weight=1 - sum(weights.values()),
            seen=seen,
            train_loss=2.0,
            trust_alone=2.5,
            trust_merged=2.25,
            test_alone=2.5,
            test_merged=2.25,
            temperature=0.5,
            tried=((0.5, 2.25), (None, 2.5)),
            guard="taken",
            tokens=1000,
            samples=10,
            steps=5,
            train_s=1.0,
            gather_s=0.5,
            merge_s=0.25,
            discarded=0.0,
        )

    return make


@pytest.fixture
def make_begun() -> Callable[..., Begun]:
    def make(peer: str, *, name: str = "", version: int = 1) -> Begun:
        return Begun(
            version=version,
            peer=peer,
            name=name or peer.upper(),
            round=0,
            base="00",
            tokenizer="00",
            reference="00",
            layout="00",
            strategy="predictions",
            merge="svd",
            test_loss=2.75,
        )

    return make


@pytest.fixture
def make_home(make_begun: Callable[..., Begun], make_entry: MakeEntry) -> MakeHome:
    """A peer's home with these rounds in its history."""

    def make(home: Path, peer: str, *rounds: Round, name: str = "") -> Path:
        home.mkdir(parents=True)
        with HistoryWriter(home / HISTORY_FILE, peer=peer, now=0.0) as writer:
            for record in (make_begun(peer, name=name), *rounds):
                writer.append(make_entry(record))
        return home

    return make
