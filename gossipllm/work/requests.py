"""The requests of a peer's core to its learner.

Rows here are K+1 weights: entry 0 is the peer itself, entry k+1 belongs to `updates[k]`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gossipllm.config import LearnerConfig
from gossipllm.device.plan.choice import SettingsToChoose
from gossipllm.work.words import PushedShare, RequestId, Word
from wire.digest import Content


class Open(Word, frozen=True, kw_only=True):
    """Load the base model, the data and, where there is a snapshot, the state to go on from."""

    request: RequestId
    config: LearnerConfig
    snapshot: Content | None
    text: Content | None = None
    """The ledger of the text that was dealt before (`gossipllm.text.growth`); None deals all of it."""
    choosing: SettingsToChoose | None = None
    """What to choose by measuring this device, before anything else is done with the configuration."""


class Train(Word, frozen=True, kw_only=True):
    """Take `steps` local optimiser steps as round `round`, and answer with the adapter that results.

    Batches and dropout are functions of (configuration's seed, round, step), so that a round that is repeated after a
    crash trains on the same text. `units` is a bitmap of the network's units to train and to offer
    (`wire.updates.units`), empty for all that this peer's adapter has. `context` is a fetched context, where the
    configuration asks for one that another peer made. `probe` asks for the importance of all layers, not only of the
    trained ones. `receivers` are the neighbours to push mass to, where mixing is by push-sum. `rate` is a share of the
    configured learning rate. No steps are allowed: the answer then has the state as it is.

    `average_from` asks for the moving average of the adapters that local steps result in
    (`learning.training.iterate_average`): it is kept from round to round, and measured where these steps end in a
    trust loss of at least this. None keeps none. `byte_rows` asks for predictions that peers of other tokenizers can
    compare.
    """

    request: RequestId
    round: int
    steps: int
    units: bytes = b""
    context: Content | None = None
    probe: bool = False
    receivers: tuple[str, ...] = ()
    rate: float = 1.0
    average_from: float | None = None
    byte_rows: bool = False


class Weigh(Word, frozen=True, kw_only=True):
    """Measure the distance to a neighbour, by the configured strategy. `evidence` is its predictions blob, None where
    none was fetched; `update` is None where it holds another base, and then all evidence is of predictions. Of a
    neighbour with another tokenizer there are `byte_rows` alone."""

    request: RequestId
    author: str
    update: Content | None
    evidence: Content | None
    byte_rows: Content | None = None


class Finalist(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour that a row may be over. `rows` are the rows of its predictions, which lie in `evidence`, to compute
    again from its update; empty for none. The windows that hold them are computed and compared whole, so that rows of
    one window cost as much as one of them."""

    author: str
    update: Content
    evidence: Content | None = None
    rows: tuple[int, ...] = ()


class Confirm(Word, frozen=True, kw_only=True):
    """Try each neighbour by itself: mix its update into this peer's adapter at the weight `share`, and measure the
    trust split. Changes nothing. Of neighbours that are nearly identical, the first stands for all."""

    request: RequestId
    finalists: tuple[Finalist, ...]
    share: float


class Restore(Word, frozen=True, kw_only=True):
    """Replace this peer's state by an earlier snapshot of it, but for its round. Answered by `Merged`. The moving
    average of its adapters is that of the snapshot, or with `keeps_average` the present one."""

    request: RequestId
    snapshot: Content
    keeps_average: bool = False


class Evaluate(Word, frozen=True, kw_only=True):
    """Measure the loss on the trust split of the merge that each row would give; the last row keeps everything. Changes
    nothing."""

    request: RequestId
    rows: tuple[tuple[float, ...], ...]
    updates: tuple[Content, ...]


class Fit(Word, frozen=True, kw_only=True):
    """Learn a row by `steps` steps down the gradient of the trust loss, from `row` on. Does not change the adapter."""

    request: RequestId
    row: tuple[float, ...]
    updates: tuple[Content, ...]
    steps: int
    rate: float


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour to learn from: its weight in the row, its update, which is None where it holds another base, and the
    predictions to distil: byte rows where `in_bytes`, for a neighbour with another tokenizer. `base` are those that its
    base makes, None where they are not known."""

    weight: float
    update: Content | None
    evidence: Content
    in_bytes: bool = False
    base: Content | None = None


class Merge(Word, frozen=True, kw_only=True):
    """Replace this peer's adapter by the merge by `row`. A row of `(1.0,)` without updates changes nothing.

    Where the configuration says so, distilling follows (`gossipllm.learning.distilling`): from `lessons`, at a share of
    the cost of `local_steps`, those of this round.
    """

    request: RequestId
    row: tuple[float, ...]
    updates: tuple[Content, ...]
    lessons: tuple[Lesson, ...] = ()
    local_steps: int = 0


class Absorb(Word, frozen=True, kw_only=True):
    """Take in the mass that neighbours pushed to this peer. Answered by `Merged`."""

    request: RequestId
    shares: tuple[PushedShare, ...]


Work: TypeAlias = Train | Weigh | Confirm | Evaluate | Fit | Merge | Absorb | Restore
Request: TypeAlias = Open | Work
