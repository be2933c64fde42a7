"""The learner's answers to its requests, and its signs of life."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from gossipllm.device.plan.choice import Chosen
from gossipllm.work.words import MadeContext, PackedUpdate, PushedShare, RequestId, Word
from trust.record.history import Distilled
from wire.digest import Content
from wire.messages import Fingerprints
from wire.updates.tensors import Codec
from wire.updates.units import Offer, Unit


class Opened(Word, frozen=True, kw_only=True):
    """The learner is ready. `units` are those of the network's schema, `offer` what of them this peer's adapter has;
    `top` and `rows` are the shape of the predictions. The test loss is that of the state it went on from.

    `layers` is the number of the model's blocks, `window` the length of a block window, 0 where all blocks are
    trained. Where contexts are distilled, `context_keys` names the context of each block window, by its first block,
    and none of them is longer than `context_bytes`. `mass` is the length of a pushed mass, 0 without push-sum.

    `offsets` and `spans` are the shape of byte rows (`wire.predictions.byte_rows.ByteShape`), 0 where the reference set
    has none. `no_byte_rows` says why this learner makes none; it is empty where it does.
    """

    request: RequestId
    fingerprints: Fingerprints
    units: tuple[Unit, ...]
    codec: Codec
    offer: Offer
    layers: int = 0
    window: int = 0
    context_keys: tuple[bytes, ...] = ()
    context_bytes: int = 0
    mass: int = 0
    offsets: int = 0
    spans: int = 0
    no_byte_rows: str = ""
    rows: int
    top: int
    vocabulary: int
    raw: bool
    """Whether the predictions are raw logits (`ReferenceConfig.positions`)."""
    coded: bool = False
    """Whether they are entropy coded (`ReferenceConfig.coding`)."""
    round: int
    """The round that the snapshot was taken in; 0 without one."""
    train_tokens: int
    trust_tokens: int
    test_tokens: int
    test_loss: float
    device: str
    dtype: str
    account: tuple[str, ...] = ()
    """What was read of this peer's text and what was left out, as lines for people, without names of files."""
    text: Content | None = None
    """The ledger of all text that is dealt now; another one than before where the text grew."""
    chosen: Chosen | None = None
    """The settings that were chosen, with which the learner trains."""


class Progress(Word, frozen=True, kw_only=True):
    """How far a long request is. `phase` is a word that users see; `loss` and `tokens_per_s` are the latest."""

    request: RequestId
    phase: str
    step: int
    steps: int
    loss: float
    tokens_per_s: float


class Averaged(msgspec.Struct, frozen=True, kw_only=True):
    """The moving average of the adapters that local steps resulted in: a snapshot of it, its trust loss, and the
    standard error of the difference of that from the loss of the last of these adapters; 0 where it is not known."""

    snapshot: Content
    trust_loss: float
    error: float = 0.0


class Trained(Word, frozen=True, kw_only=True):
    """The adapter after this round's local steps (`update`), its predictions, and the state to resume from.

    `packed` are smaller forms of the update. `trust_loss` is the adapter's own, before any merge. `offer` is what the
    update holds. `importance` has a number
    for each measured layer and None for the others; it is empty where block windows are not drawn by it. `shares` are
    the masses to send to receivers, `contexts` those that this round distilled, which neighbours may fetch.
    `context_refused` says that the context in the request was bad and was not used. `note` tells users what did not
    go as configured. `average` is None where none was measured, `byte_rows` where none were asked for.
    """

    request: RequestId
    round: int
    update: Content
    offer: Offer
    evidence: Content
    snapshot: Content
    tokens: int
    samples: int
    steps: int
    train_loss: float
    trust_loss: float
    seconds: float
    importance: tuple[float | None, ...] = ()
    shares: tuple[PushedShare, ...] = ()
    contexts: tuple[MadeContext, ...] = ()
    context_refused: bool = False
    note: str = ""
    average: Averaged | None = None
    byte_rows: Content | None = None
    packed: tuple[PackedUpdate, ...] = ()


class Weighed(Word, frozen=True, kw_only=True):
    """One distance, with its standard error (0 where there is none), for each kind of evidence that the
    configuration names, in its order.

    `own` is the same measure of this peer's own adapter: 0, but where distances are not from it ("progress").
    """

    request: RequestId
    author: str
    distances: tuple[float, ...]
    errors: tuple[float, ...]
    own: tuple[float, ...]


BIND_TOLERANCE: Final = 0.1
"""Mean total variation beyond which predictions do not come from the update that they were sent with.

Measured on the embedded base, six peers of two languages, ranks 4 to 16, eight rounds of merging with all: of honest
updates at most 0.0024 where both bases are float32, 0.0043 where one is bfloat16 or int8, and 0.043 where one is int4;
of another honest peer's predictions at least 0.30.
"""


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What one finalist does to this peer.

    `gain` is by how many nats per token the trust loss falls, `error` the standard error of that difference, paired by
    windows. `mismatch` is the mean total variation between the rows that were computed again and those that the
    neighbour published, in [0, 1] (`BIND_TOLERANCE`); 0 where none was asked for, and where the update is only a part
    of the author's adapter (block windows, shares of heads), whose rest is unknown. `twin` is the index of the first
    finalist with a nearly identical update or evidence, its own index where there is none, and -1 where it is nearly
    identical to this peer or to the untouched start. `size` is the norm of the update's product over the norm of this
    peer's own. A gain is not finite where a twin stands for it, or where the loss is not finite.
    """

    gain: float
    error: float
    mismatch: float
    twin: int
    size: float


class Confirmed(Word, frozen=True, kw_only=True):
    """One `Confirmation` for each finalist, in their order, and this peer's own trust loss."""

    request: RequestId
    own_loss: float
    results: tuple[Confirmation, ...]


class Declined(Word, frozen=True, kw_only=True):
    """A neighbour's update or evidence cannot be weighed: the field and the reason. The neighbour is at fault."""

    request: RequestId
    author: str
    field: str
    why: str


class Evaluated(Word, frozen=True, kw_only=True):
    """Mean trust loss of each row, in nats per token: over all windows (`losses`), and over those that propose.

    Only the best row by `proposed` is measured on all windows. For other rows `losses` is the adapter's own loss with
    their difference from it on the windows that propose, and gains and errors are NaN.

    `gains` say by how much the loss falls from that of the adapter as it is on the windows that judge, and `errors` are
    the standard errors of these differences, paired by windows (`learning.measuring.halves`). Where too few windows
    are there to be split, or the configuration does not split them, all of them propose and judge.
    """

    request: RequestId
    losses: tuple[float, ...]
    proposed: tuple[float, ...]
    gains: tuple[float, ...]
    errors: tuple[float, ...]


class Fitted(Word, frozen=True, kw_only=True):
    """The row that was learned, a distribution, and the trust loss before each step."""

    request: RequestId
    row: tuple[float, ...]
    losses: tuple[float, ...]


class Merged(Word, frozen=True, kw_only=True):
    """The merge is this peer's adapter now. Test losses are for reports only.

    `discarded` is the Frobenius norm of what the merge lacks of the exact mixture, over the mixture's norm, for every
    merge rule; 0 for push-sum, which mixes whole states, and for rows by block, which mix factors as they were
    measured. `refused` are the peers whose shares no honest peer can have sent, where mixing is by push-sum.
    `distilled` is what distilling after the merge did, None where there was none; `forgotten` what this peer has
    forgotten of the reference set (`learning.training.retention`), None where it is not measured.
    """

    request: RequestId
    snapshot: Content
    trust_loss: float
    test_alone: float
    test_merged: float
    discarded: float
    seconds: float
    refused: tuple[str, ...] = ()
    distilled: Distilled | None = None
    forgotten: float | None = None


class Failed(Word, frozen=True, kw_only=True):
    """The request could not be performed for a reason on this device, such as memory or a bad file.

    `users_fault` marks an error that the user can mend: it ends the peer with this line.
    """

    request: RequestId
    why: str
    users_fault: bool


BEAT_S: Final = 5.0
"""Seconds between two beats of a working learner."""


EXHAUSTED: Final = 75
"""Exit code of a learner's process that found no memory or no room on a disk, which may pass: EX_TEMPFAIL."""


class Beat(Word, frozen=True, kw_only=True):
    """A sign of life while a request is performed, from a thread of its own, and before each answer that ends one; no
    answer itself. `cpu_s` is the processor time that the process has used so far, `peak_bytes` the most memory that it
    held, 0 where not known."""

    cpu_s: float
    peak_bytes: int = 0


Answer: TypeAlias = (
    Opened | Progress | Trained | Weighed | Confirmed | Declined | Evaluated | Fitted | Merged | Failed
)
