"""What a report holds, as data: the JSON document, and what its page is drawn from.

Described by the types below, outermost last. Numbers are rounded to four digits or five, and those that are not
finite are null. Text is escaped: a run may be somebody else's. `schema` rises when a field changes its meaning or
goes; new fields may come without that.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from sim.comparison.summary import Comparison

SCHEMA = 1

Measured: TypeAlias = float | tuple[float, ...]
"""One number, or one of each of `RunPart.kinds` where a strategy has several."""


class Glimpse(msgspec.Struct, frozen=True, array_like=True):
    """What a row gave one neighbour, in JSON an array: `peer` is a place in `RunPart.peers`, the rest as in `Seen`."""

    peer: int
    weight: float
    distance: Measured
    error: Measured
    age: int
    its_round: int


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of each for every round that the page holds, in the order of `rounds`.

    Losses are nats per token, durations seconds; `guard` is alone, taken, shrunk or refused.
    """

    rounds: tuple[int, ...]
    self_weight: tuple[float, ...]
    seen: tuple[tuple[Glimpse, ...], ...]
    trust_alone: tuple[float, ...]
    trust_merged: tuple[float, ...]
    test_alone: tuple[float, ...]
    test_merged: tuple[float, ...]
    temperature: tuple[float | None, ...]
    guard: tuple[str, ...]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Of a peer's whole record, also of the rounds that the page leaves out: seconds, and bytes by kind."""

    rounds: int
    tokens: int
    refusals: int
    train_s: float
    gather_s: float
    merge_s: float
    sent: dict[str, int]
    received: dict[str, int]


class PeerPart(msgspec.Struct, frozen=True, kw_only=True):
    """`peer` is its id, `name` what it calls itself or others call it, maybe nothing, `label` short and distinct.

    `category` and `device` are what a simulation knows of it, otherwise empty. `place` is where it stands in the
    picture of the network, both numbers in 0..1. Of a peer that left no record `totals` is null.
    """

    peer: str
    name: str
    label: str
    category: str
    device: str
    place: tuple[float, float]
    series: Series
    totals: Totals | None


class RunPart(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `method` and `seed` are null unless it was simulated, and `finished` where that is not known.

    `recorded` rounds there are, of which `rounds` are held here. `began_s` and `ended_s` are the times of the first
    record and the last, Unix seconds (virtual ones in a simulation).
    """

    title: str
    method: str | None
    seed: int | None
    finished: bool | None
    strategy: str
    kinds: tuple[str, ...]
    recorded: int
    rounds: tuple[int, ...]
    began_s: float
    ended_s: float
    peers: tuple[PeerPart, ...]


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    """A history that was read: its bytes and their SHA-256, its whole records, and what follows these."""

    path: str
    bytes: int
    sha256: str
    records: int
    torn_bytes: int
    why: str


class ConfigText(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration as its file has it, addresses left out."""

    path: str
    text: str


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """`what` is base, tokenizer, reference or layout; `peers` began with this `value`."""

    what: str
    value: str
    peers: int


class ReportDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `first` is the place in `runs` that the page opens with; `comparison` is table.json."""

    schema: int = SCHEMA
    title: str
    program: str
    first: int
    runs: tuple[RunPart, ...]
    comparison: Comparison | None
    configuration: tuple[ConfigText, ...]
    versions: tuple[str, ...]
    fingerprints: tuple[Fingerprint, ...]
    files: tuple[FilePart, ...]
    notes: tuple[str, ...]
