"""The numbers of one run (a method with a seed): the types of `metrics.json`; `peer_ends.py` computes them.

A perplexity is exp of the mean cross-entropy on a peer's test split, which takes part in no decision. Nothing here
depends on the wall clock.

Axes: N peers.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from trust.rows.evidence import F64

SCHEMA: Final = 3

_LARGEST_LOSS: Final = 50.0
"""Nats a token at which losses are capped: e^50 stands for any divergence, and JSON has no infinity."""


class StateMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's state of least trust loss in a run: after the merge of `round` where `merged`, else after its local
    steps. `trust` is that loss in nats, `test` the perplexity on the test split, `windows` the loss of each test
    window, so that two methods can be compared window by window."""

    round: int
    merged: bool
    trust: float
    test: float
    windows: tuple[float, ...]


class RoundPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One peer after one round: losses on its trust split and perplexities on its test split around the merge, and
    what it took to come there: the tokens it trained on, the bytes it sent, and virtual seconds, all since the
    beginning."""

    round: int
    trust_alone: float
    trust_merged: float
    before: float
    after: float
    tokens: int
    sent: int
    seconds: float


class PeerMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One peer at the end of a run.

    `rounds` counts its finished rounds. `before` and `after` are the test perplexities around its last merge, `base`
    that of the untrained adapter; null where it did not come so far. `row` is its last row over all peers in order
    (all weight on itself before its first), `divergence` KL(oracle || row) in nats (`trust.record.measures.FLOOR`),
    `correlation` Spearman's with the oracle without its own weight (null where either row is constant), `same` the
    weight on peers whose largest category is the same, itself included, `effective` 1 / sum w^2. Bytes are of the
    whole run, by kind. `device` names how the peer's device differs, empty where all are alike; `targets` are the
    tokens of its training text that bear loss. `best` is its best state by its own trust split, and `averages` the
    best averages of its own iterates by name; `course` has a point for each round. `bits` are bits a byte of each
    peer's test text under this peer's best state, in the peers' order; empty where all have one base model.
    """

    name: str
    category: str
    device: str
    targets: int
    rounds: int
    base: float | None
    before: float | None
    after: float | None
    row: tuple[float, ...]
    divergence: float
    correlation: float | None
    same: float
    effective: float
    guard: str
    sent: dict[str, int]
    received: dict[str, int]
    best: StateMetrics | None = None
    averages: dict[str, StateMetrics] = {}
    course: tuple[RoundPoint, ...] = ()
    bits: tuple[float, ...] = ()
    joules: float | msgspec.UnsetType = msgspec.UNSET
    """Virtual joules of the whole run; unset, and left out of the file, where no watts are declared."""

    @property
    def best_after(self) -> float | None:
        """The test perplexity of the best state; that after the last merge where no best state is known."""
        return self.after if self.best is None else self.best.test


class LossPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Test perplexities before and after the merge of `round`, as means over peers."""

    round: int
    before: float
    after: float


class AttackMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What attackers gained in a run.

    `weights` has for each round the weight that an honest peer gave all attackers together, as a mean over honest
    peers; `largest` is the largest of any honest peer in the last round. `refused` counts the honest peers' rounds
    that ended with a refused merge, of `rounds` in all. `triggered` is how often honest peers do in the end what a
    backdoor asks for, as a mean over them; None without a backdoor.
    """

    name: str
    attackers: int
    weights: tuple[float, ...]
    largest: float
    refused: int
    rounds: int
    triggered: float | None = None


class RunMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `metrics.json`.

    `finished` says whether every peer did all its rounds, `virtual_s` when the last peer did. `oracle` has a row for
    each peer, `curve` a point for each round; `forward` and `backward` are tokens through the model by
    purpose (train; trust, the losses that decide; evidence, predictions; row, learning one; test, which only
    reports), all peers together. `trace` is the digest over all events of the run.
    """

    schema: int = SCHEMA
    method: str
    seed: int
    finished: bool
    virtual_s: float
    trace: str
    oracle: tuple[tuple[float, ...], ...]
    peers: tuple[PeerMetrics, ...]
    curve: tuple[LossPoint, ...]
    forward: dict[str, int]
    backward: dict[str, int]
    attack: AttackMetrics | None = None
    """What the attackers gained; None without any."""

    @property
    def rows_NN(self) -> F64:
        return np.array([one.row for one in self.peers])

    @property
    def peer_rounds(self) -> int:
        """Rounds of all peers together, at least 1."""
        return max(1, sum(one.rounds for one in self.peers))


def perplexity(loss: float) -> float:
    """exp of a loss in nats a token, capped; nan counts as the largest loss."""
    return math.exp(_LARGEST_LOSS if math.isnan(loss) else min(loss, _LARGEST_LOSS))
