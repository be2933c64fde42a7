"""The JSON document of `trust diff`: what differs between two runs. Differences are second less first.

`schema` rises when a field changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trust.inspection.diff.settings import SettingDifference
from trust.inspection.reading.summary import FileSummary
from trust.record.history import PeerName

SCHEMA: Final = 1


class PeerChange(msgspec.Struct, frozen=True, kw_only=True):
    """One peer at the end of each run: its id, its last round, its test loss after the last merge in nats per token,
    and its perplexity, which is exp of that loss."""

    name: str
    first_peer: PeerName
    second_peer: PeerName
    first_round: int
    second_round: int
    first_loss: float
    second_loss: float
    first_perplexity: float
    second_perplexity: float


class WeightChange(msgspec.Struct, frozen=True, kw_only=True):
    """The weight that peer `who` gives peer `whom`, both by name; 0 where it was not seen."""

    who: str
    whom: str
    first: float
    second: float

    @property
    def change(self) -> float:
        return self.second - self.first


class BytesChange(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one kind over the whole run, of all peers together. `way` is sent or received."""

    way: str
    kind: str
    first: int
    second: int


class RunPair(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of one run of each side. Seeds are null outside of simulations.

    `round` is the last round that at least half of the common peers recorded on both sides, null where there is none;
    `rows` is the number of peers that did. Over these rows, `frobenius` is the norm of the difference of the two
    matrices, and `moved` the mean share of a row that moved to another peer (half the sum of absolute changes).
    `weights` has every weight that is not 0 on both sides, the largest change first. `peers` are the common peers;
    `first_only` and `second_only` are the names of the others.
    """

    first_seed: int | None
    second_seed: int | None
    round: int | None
    rows: int
    frobenius: float | None
    moved: float | None
    weights: tuple[WeightChange, ...]
    peers: tuple[PeerChange, ...]
    first_only: tuple[str, ...]
    second_only: tuple[str, ...]
    bytes: tuple[BytesChange, ...]


class MeasureDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A measure, averaged over the common peers of each run and then over the pairs of runs, and the statistics of the
    paired differences. Fields are null as in `significance.Paired`."""

    name: str
    first: float
    second: float
    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    t_p: float | None
    wilcoxon_p: float | None
    verdict: str


class MethodDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of one method of each side, or of the two given runs. `files` are those of both sides."""

    first: str
    second: str
    settings: tuple[SettingDifference, ...]
    pairs: tuple[RunPair, ...]
    measures: tuple[MeasureDifference, ...]
    files: tuple[FileSummary, ...]


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document of `trust diff`."""

    schema: int = SCHEMA
    comparisons: tuple[MethodDifference, ...]
