"""The data of a report: `gossipllm report --json` prints it, and the HTML page is drawn from it.

The outermost type, `ReportDocument`, stands last. Losses are rounded to five significant digits, other numbers to
four; numbers that are not finite become null. Text is escaped, because a history can come from a stranger. `schema`
rises when a field is removed or changes its meaning, not when a field is added.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from sim.comparison.summary import Comparison
from trust.record.history import Relation

SCHEMA = 1

Measured: TypeAlias = float | tuple[float, ...]
"""A number, or one number for each of `RunPart.kinds` where the strategy uses several kinds of evidence."""


class Glimpse(msgspec.Struct, frozen=True, array_like=True):
    """A neighbour in a trust row; an array in JSON. `peer` is an index into `RunPart.peers`.

    The other fields are those of `trust.record.history.Seen`.
    """

    peer: int
    weight: float
    distance: Measured
    error: Measured
    age: int
    its_round: int
    relation: Relation = "merges"


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Values of one peer by round. All tuples are as long as `rounds`, and in its order.

    Losses are in nats per token. `guard` is the guard's verdict: alone, taken, shrunk, refused or returned.
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


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer spent in the rounds whose joules were counted or estimated by `method`."""

    method: str
    rounds: int
    joules: float
    processor_s: float
    peak_bytes: int
    sent: int
    received: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the whole history of a peer, rounds that the page leaves out included.

    `sent` and `received` are bytes by kind of message. `spent` has an entry for each method by which energy was counted
    or estimated; it is empty where no round has a cost.
    """

    rounds: int
    tokens: int
    refusals: int
    train_s: float
    gather_s: float
    merge_s: float
    sent: dict[str, int]
    received: dict[str, int]
    spent: tuple[Spent, ...] = ()


class PeerPart(msgspec.Struct, frozen=True, kw_only=True):
    """A peer of a run.

    `peer` is its id, `name` its self-chosen name (may be empty), `label` a short name, distinct within the run.
    `category` and `device` are known for simulated peers, and empty otherwise. `place` is the peer's position in the
    picture of the network, both coordinates in 0..1. `totals` is null for a peer without a history of its own.
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
    """One run. `method` and `seed` are null for a run of real peers; `finished` is null where it is not known.

    `recorded` is the number of rounds in the histories, `rounds` the numbers of the rounds in this document.
    `began_s` and `ended_s` are the times of the first and the last record, in Unix seconds (virtual time in a
    simulation). `kinds` are the kinds of evidence that distances were computed from.
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
    """A history file: its size and SHA-256, and its number of complete records.

    `torn_bytes` follow the last complete record; `why` says why they cannot be read.
    """

    path: str
    bytes: int
    sha256: str
    records: int
    torn_bytes: int
    why: str


class ConfigText(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a configuration file, without network addresses."""

    path: str
    text: str


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A fingerprint and the number of peers that started with it. `what` is base, tokenizer, reference or layout."""

    what: str
    value: str
    peers: int


class ReportDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `first` is the index of the run that the page opens with; `comparison` is table.json."""

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
