"""What a peer asks of its learner, and what comes back: the vocabulary of the two processes.

No torch here: the network process speaks these words without loading it. A request carries all that is
needed to perform it, and an answer names its question, so that a late or repeated answer can be told
from the one awaited. Bulk (updates, predictions, snapshots) is `Content`: bytes with their SHA-256, which
`pipe.py` sends once for each learner process, however many requests refer to it.

Rows here are K+1 weights: entry 0 is the peer itself, entry k+1 belongs to `updates[k]`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gossipllm.config import LearnerConfig
from wire.digest import Content
from wire.messages import Fingerprints
from wire.tensors import Codec

RequestId: TypeAlias = int


class _Word(msgspec.Struct, frozen=True, tag=True):
    pass


class Open(_Word, frozen=True, kw_only=True):
    """Load the base model, the data and, where there is one, the state to go on from."""

    request: RequestId
    config: LearnerConfig
    snapshot: Content | None


class Train(_Word, frozen=True, kw_only=True):
    """`steps` local optimiser steps of round `round`; then say what the adapter has become.

    The batches are a function of (configuration's seed, round, step), so that a round that is repeated
    after a crash sees the same text.
    """

    request: RequestId
    round: int
    steps: int


class Weigh(_Word, frozen=True, kw_only=True):
    """How far is this neighbour, by the configured strategy? `evidence` is its predictions blob."""

    request: RequestId
    author: str
    update: Content
    evidence: Content


class Evaluate(_Word, frozen=True, kw_only=True):
    """The loss on the trust split of the merge that each row would give. Changes nothing."""

    request: RequestId
    rows: tuple[tuple[float, ...], ...]
    updates: tuple[Content, ...]


class Fit(_Word, frozen=True, kw_only=True):
    """Learn a row: `steps` steps down the gradient of the trust loss, from `row` on. Changes nothing else."""

    request: RequestId
    row: tuple[float, ...]
    updates: tuple[Content, ...]
    steps: int
    rate: float


class Merge(_Word, frozen=True, kw_only=True):
    """Make the merge by `row` this peer's adapter. A row of `(1.0,)` and no updates changes nothing."""

    request: RequestId
    row: tuple[float, ...]
    updates: tuple[Content, ...]


Work: TypeAlias = Train | Weigh | Evaluate | Fit | Merge
Request: TypeAlias = Open | Work


class Opened(_Word, frozen=True, kw_only=True):
    """The learner is ready. `shapes` are the adapter's tensors in layout order; `top` and `rows` are the
    shape of the predictions. The test loss is that of the state it went on from."""

    request: RequestId
    fingerprints: Fingerprints
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    codec: Codec
    rows: int
    top: int
    vocabulary: int
    raw: bool
    """Whether the predictions are raw logits (`ReferenceConfig.positions`)."""
    round: int
    """The round that the snapshot was taken in; 0 without one."""
    train_tokens: int
    trust_tokens: int
    test_tokens: int
    test_loss: float
    device: str
    dtype: str


class Progress(_Word, frozen=True, kw_only=True):
    """How far a long request is. `phase` is a word for people; `loss` and `tokens_per_s` are the last ones."""

    request: RequestId
    phase: str
    step: int
    steps: int
    loss: float
    tokens_per_s: float


class Trained(_Word, frozen=True, kw_only=True):
    """The adapter after this round's local steps (`update`), its predictions, and the state to resume from.

    `trust_loss` is the adapter's own, before any merge.
    """

    request: RequestId
    round: int
    update: Content
    evidence: Content
    snapshot: Content
    tokens: int
    samples: int
    steps: int
    train_loss: float
    trust_loss: float
    seconds: float


class Weighed(_Word, frozen=True, kw_only=True):
    """One distance, with its standard error (0 where there is none), for each kind of evidence that the
    configuration names, in its order.

    `own` is the same measure of this peer's own adapter: 0, but where distances are not from it ("progress").
    """

    request: RequestId
    author: str
    distances: tuple[float, ...]
    errors: tuple[float, ...]
    own: tuple[float, ...]


class Declined(_Word, frozen=True, kw_only=True):
    """What a neighbour sent cannot be weighed: the field and the reason. The neighbour is at fault."""

    request: RequestId
    author: str
    field: str
    why: str


class Evaluated(_Word, frozen=True, kw_only=True):
    """Mean trust loss of each row (nats per token), and the standard error of its paired difference from
    the adapter as it is (the row that keeps everything)."""

    request: RequestId
    losses: tuple[float, ...]
    errors: tuple[float, ...]


class Fitted(_Word, frozen=True, kw_only=True):
    """The row that was learned, a distribution, and the trust loss before each step."""

    request: RequestId
    row: tuple[float, ...]
    losses: tuple[float, ...]


class Merged(_Word, frozen=True, kw_only=True):
    """The merge is this peer's adapter now. Test losses are for reports only.

    `discarded` is the Frobenius norm that the reduction to the adapter's rank dropped, over the norm of the
    exact merge.
    """

    request: RequestId
    snapshot: Content
    trust_loss: float
    test_alone: float
    test_merged: float
    discarded: float
    seconds: float


class Failed(_Word, frozen=True, kw_only=True):
    """The request could not be performed, and it is this peer's own matter (memory, a bad file).

    `users_fault` marks what the user can mend: it ends the peer with this line.
    """

    request: RequestId
    why: str
    users_fault: bool


Answer: TypeAlias = Opened | Progress | Trained | Weighed | Declined | Evaluated | Fitted | Merged | Failed
