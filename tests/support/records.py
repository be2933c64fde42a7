"""Records of histories, and homes and files that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec

from trust.record.cost import Cost
from trust.record.history import HISTORY_FILE, Begun, Entry, Guard, Record, Round, Seen, Traffic
from trust.record.writer import HistoryWriter


class RoundFields(TypedDict, total=False):
    """Fields of a round's record that a test may set."""

    self_weight: float
    seen: tuple[Seen, ...]
    train_loss: float
    trust_alone: float
    trust_merged: float
    test_alone: float
    test_merged: float
    temperature: float | None
    tried: tuple[tuple[float | None, float], ...]
    guard: Guard
    tokens: int
    samples: int
    steps: int
    train_s: float
    gather_s: float
    merge_s: float
    discarded: float
    forgotten: float | msgspec.UnsetType
    cost: Cost | msgspec.UnsetType
    tokens_total: int
    samples_total: int
    offered: int
    window: int | None
    importance: tuple[float | None, ...]
    absorbed: int


class BegunFields(TypedDict, total=False):
    """Fields of a start's record that a test may set."""

    version: int
    round: int
    base: str
    tokenizer: str
    reference: str
    layout: str
    strategy: str
    merge: str
    test_loss: float
    program: str
    trust: str


class SeenFields(TypedDict, total=False):
    """Fields of a neighbour in a round's record that a test may set."""

    its_round: int
    age: int
    distance: float
    error: float
    weight: float
    tokens: int


def seen_of(peer: str, *, name: str | None = None, **fields: Unpack[SeenFields]) -> Seen:
    """A neighbour as a round's record has it; its name is its id in capitals unless given."""
    seen = Seen(
        peer=peer,
        name=peer.upper() if name is None else name,
        its_round=0,
        age=0,
        distance=0.5,
        error=0.1,
        weight=0.0,
        tokens=1000,
    )
    return msgspec.structs.replace(seen, **fields)


def round_of(
    peer: str,
    number: int,
    weights: Mapping[str, float],
    *,
    names: Mapping[str, str] | None = None,
    **fields: Unpack[RoundFields],
) -> Round:
    """`round_of("a", 1, {"b": 0.25})`: peer a keeps what it does not take from others."""
    record = Round(
        peer=peer,
        round=number,
        self_weight=1 - sum(weights.values()),
        seen=tuple(
            seen_of(other, name=(names or {}).get(other), its_round=number, weight=weight)
            for other, weight in weights.items()
        ),
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
    return msgspec.structs.replace(record, **fields)


def begun_of(peer: str, *, name: str | None = None, **fields: Unpack[BegunFields]) -> Begun:
    """The record of a start; the peer's name is its id in capitals unless given."""
    record = Begun(
        version=1,
        peer=peer,
        name=peer.upper() if name is None else name,
        round=0,
        base="00",
        tokenizer="00",
        reference="00",
        layout="00",
        strategy="predictions",
        merge="svd",
        test_loss=2.75,
    )
    return msgspec.structs.replace(record, **fields)


def entry_of(
    record: Record,
    *,
    at_s: float = 1.5,
    sent: Mapping[str, int] | None = None,
    received: Mapping[str, int] | None = None,
) -> Entry:
    """A record with its time and traffic: 7 bytes of blobs sent, none received, unless given."""
    traffic = Traffic(sent=dict({"blob": 7} if sent is None else sent), received=dict(received or {}))
    return Entry(at_s=at_s, traffic=traffic, record=record)


def append_entries(file: Path, peer: str, *entries: Entry) -> Path:
    """Add to a history, or begin it, as a peer's own process does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with HistoryWriter(file, peer=peer, now=0.0) as writer:
        for entry in entries:
            writer.append(entry)
    return file


def append_records(home: Path, peer: str, *records: Record, at_s: float = 1.5, blob: int = 7) -> Path:
    """Add records to the history in a home; they all come at one time, after `blob` bytes sent."""
    entries = [entry_of(record, at_s=at_s, sent={"blob": blob}) for record in records]
    return append_entries(home / HISTORY_FILE, peer, *entries)


def write_growing(file: Path, records: Sequence[Record]) -> Path:
    """A history in which each record comes a second and a kilobyte of blobs sent after the one before it."""
    entries = [
        entry_of(record, at_s=1e9 + step, sent={"blob": 1000 * step}, received={"blob": 10 * step})
        for step, record in enumerate(records)
    ]
    return append_entries(file, "", *entries)


def make_home(home: Path, peer: str, *rounds: Round, name: str | None = None) -> Path:
    """A new peer's home with these rounds in its history."""
    home.mkdir(parents=True)
    append_records(home, peer, begun_of(peer, name=name), *rounds)
    return home
