"""The types of the records in a history file, which peers and the simulator write and all inspection commands read.

A history is an append-only file of MessagePack values, one after the other, so that any streaming reader can follow it.
A record is written with a single `write` call. A file whose last record is torn (the machine lost power, or the writer
is in the middle of it) is read up to that record; bytes after a torn or foreign record are never interpreted. `log.py`
reads and writes the file.

Records hold facts about a named peer, never training text or keys. They are trees of numbers and strings without
cycles, so the garbage collector does not track them (`gc=False`), which halves the time to read many histories.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from trust.record.cost import Cost

HISTORY_FILE = "history.msgpack"
VERSION = 5
"""Version of the format. Version 2 added to a round what was trained and offered, version 3 all inputs of its row,
version 4 what each neighbour did by itself, version 5 going back to the best state, the rate, rest, what the windows
said that judge a merge, and whether nobody helped.
Fields that an earlier version lacks have their defaults, which mean "not known"."""

PeerName: TypeAlias = str
"""A peer's id as text (`12D3KooW...`). `Begun.name` is the name for display."""


Guard: TypeAlias = Literal["alone", "taken", "shrunk", "refused", "returned", "recalled"]
"""Outcome of a merge: there was none, or it was taken, moved toward the peer's own adapter, or refused; or the peer
went back to its last good state instead ("returned"), because merges had done harm, or to the state of least trust
loss ("recalled"), because it had not gained for a while."""


def took(guard: Guard) -> bool:
    """Whether a merge with this outcome changed the peer: it was taken, whole or shrunk."""
    return guard in ("taken", "shrunk")


LeftOut: TypeAlias = Literal["own", "twin", "loud", "unbound", "harmful", "useless", "paused"]
"""Why a neighbour was left out of the row after it was tried by itself.

"own" is nearly identical to the peer itself or to the untouched start, "twin" to another neighbour; "loud" is far
larger than the peer's own update; the predictions of "unbound" are not those of its update; "harmful" raised the loss;
"useless" did not lower it by more than the error of the measurement; "paused" was not tried, because the peer trains
alone for a while."""

Relation: TypeAlias = Literal["merges", "distils", "compares", "apart"]
"""What a peer can do with another one's announcements: mix its updates, learn from its predictions, compare these, or
nothing. `peers.core.others.connected.relation` decides it."""

NoteLevel: TypeAlias = Literal["info", "warning", "error"]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", gc=False):
    pass


class Begun(_Record, frozen=True, kw_only=True, tag="begun"):
    """Record of a start (or restart) of a peer's process, at `round`."""

    version: int = VERSION
    peer: PeerName
    name: str
    round: int
    base: str
    """Fingerprint of the base model in hexadecimal, like `tokenizer`, `reference` and `layout`."""
    tokenizer: str
    reference: str
    layout: str
    strategy: str
    merge: str
    test_loss: float
    """Loss on the test split of the adapter that training continues from, in nats per token; at round 0 the base
    model's."""
    program: str = ""
    """Version of gossipllm; empty where not known."""
    trust: str = ""
    """The complete `TrustConfig` as a JSON object; empty where not known."""
    alpha: float = 1.0
    """`tokens_alpha` as a number (`trust.rows.config.alpha_of`)."""
    guarded: bool = True
    """Whether merges that increase the trust loss are shrunk or refused."""
    newcomers: float = 1.0
    """Largest joint weight of neighbours without a seat, and `own_share` the least of the peer itself."""
    own_share: float = 0.0
    share: float = 0.0
    """Weight at which neighbours are tried by themselves; 0 where they are not."""
    train_tokens: int = 0
    """Tokens of this peer's own text that it trains on; 0 where not known."""
    credit: float | msgspec.UnsetType = msgspec.UNSET
    """How much the standing of neighbours counts in their weights (`trust.rows.bounds.by_credit`); unset, and left out
    of the file, where it does not."""


class Seen(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """What was known of one neighbour when a row was computed, and the weight that it got.

    `distance` and `error` (standard error) are 0 where the strategy has none. `age` counts this peer's rounds since the
    neighbour's announcement came; `its_round` is the neighbour's own count. `weight` is the neighbour's weight in the
    row that was used in the end. Where the strategy measures several kinds of evidence, `distance` is the first and
    `distances` holds all of them; otherwise `distances` is empty. The same holds for `error` and `errors`. `own` holds
    the same measures of the peer itself by kind; empty where all are 0. `rank` is that of the neighbour's adapter, 0
    where it has none or is not known. `tokens`, `samples` and the totals are the neighbour's claims about what it
    processed.
    """

    peer: PeerName
    name: str
    its_round: int
    age: int
    distance: float
    error: float
    weight: float
    tokens: int
    distances: tuple[float, ...] = ()
    rank: int = 0
    errors: tuple[float, ...] = ()
    own: tuple[float, ...] = ()
    samples: int = 0
    tokens_total: int = 0
    samples_total: int = 0
    gain: float | None = None
    """By how much the trust loss fell where this neighbour was mixed in by itself; None where it was not tried."""
    gain_error: float = 0.0
    left: LeftOut | None = None
    """Why it was left out of the row; None where it was not."""
    twin_of: PeerName = ""
    """The neighbour that stands for this one, where `left` is "twin"."""
    mismatch: float = 0.0
    """Mean total variation between its published predictions and those of its update, 0 to 1; 0 where they were not
    held against each other."""
    standing: float = 0.0
    """What it had earned before this round, 0 to 1 (`trust.rows.standing`)."""
    relation: Relation = "merges"
    """Only a neighbour that merges has a weight. Of the others, the distance is that of their predictions; one that is
    apart has none."""
    teaches: float | None = None
    """Its weight in the row of those whose predictions are distilled, where peers of other bases are among them; None
    where there is no such row."""
    by_bytes: bool = False
    """Whether the distance is that of byte rows, because the neighbour has another tokenizer."""


class Distilled(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """What distilling did after a merge: steps toward predictions on the reference set.

    `kl_before` and `kl_after` are mean divergences of the targets from the peer's own predictions, in nats per row, on
    the rows of the first step that had one; 0 where none had. `taught` of the `rows` that the steps read had a target.
    `share` is how much of the way of the steps was taken, 0 where they were undone. `gain` is by how much that share,
    or the best that was tried, lowered the trust loss on the windows that judge, and `error` its standard error.
    """

    steps: int
    rows: int
    taught: int
    kl_before: float
    kl_after: float
    share: float
    gain: float
    error: float = 0.0
    seconds: float = 0.0


class Round(_Record, frozen=True, kw_only=True, tag="round"):
    """Record of a finished round: the row that was used, the candidates that it was chosen from, and its effect.

    Losses are in nats per token. `trust_alone` and `trust_merged` are losses on this peer's trust split before and
    after the merge; the two test losses are only reported and decide nothing. `temperature` is that of the chosen row,
    None where it has none. `tried` lists every candidate as (temperature, loss); `guard` says whether the merge was
    taken, shrunk toward this peer's own adapter, or refused.

    A network that mixes by push-sum has no rows: the peer's own weight is 1, the neighbours' weights are 0, `absorbed`
    counts the shares that were taken in, and the guard is "taken" if there were any.
    """

    peer: PeerName
    round: int
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
    """Frobenius norm of what the merge lacks of the exact mixture, over the mixture's; 0 with push-sum."""
    tokens_total: int = 0
    """Tokens that this peer ever trained on, up to this round; 0 where not known. `samples_total` likewise."""
    samples_total: int = 0
    offered: int = 0
    """How many units of the adapter were trained and offered; 0 where not known."""
    window: int | None = None
    """First block of the block window that was trained; None where the peer does not train block windows."""
    importance: tuple[float | None, ...] = ()
    """Running mean of this peer's measurements of each layer's importance, None for a layer never measured; empty where
    layers are not chosen by importance."""
    absorbed: int = 0
    judged: float | None = None
    """By how much the last row that was tried lowered the loss on the windows that judge a merge, which are others than
    those that proposed it; None where nothing was judged, or where that is not known."""
    judged_error: float = 0.0
    """Standard error of `judged`, of differences paired by windows."""
    certainty: float | msgspec.UnsetType = msgspec.UNSET
    """The part of the neighbours' weights that was left because of that error (`trust.rows.certainty`); unset, and left
    out of the file, where that was all."""
    fruitless: int = 0
    """Rounds in a row, up to this one, whose neighbours were tried and that brought no whole merge; 0 where not
    counted."""
    asks_in: int = 0
    """Rounds after this one that ask no neighbour, because none helped; 0 where the next one asks."""
    alone: float | None = None
    """Estimate of the trust loss after local steps had this peer always trained alone; None where not known."""
    average: float | None = None
    """Trust loss of the moving average of the adapters after local steps; None where it was not measured."""
    rate: float = 1.0
    """Share of the configured learning rate at which the local steps were taken."""
    settled: bool = False
    """Whether the peer trains no more after this round, until news or more text wakes it."""
    distilled: Distilled | None = None
    """What distilling after the merge did; None where there was none. `trust_merged` and `test_merged` are after it."""
    forgotten: float | msgspec.UnsetType = msgspec.UNSET
    """What the peer has forgotten of the reference set, in nats per token: its loss on each window at the end of the
    round less the least that it had there at the end of any round, averaged; unset, and left out of the file, where it
    does not measure it."""
    clock: int | msgspec.UnsetType = msgspec.UNSET
    """The network's token clock by which the local steps of the round were taken; unset, and left out of the file,
    where no schedule runs over it."""
    cost: Cost | msgspec.UnsetType = msgspec.UNSET
    """What the round cost; unset, and left out of the file, where nothing measured it."""

    @property
    def took(self) -> bool:
        """Whether the merge was taken, whole or shrunk."""
        return took(self.guard)


class Refusal(_Record, frozen=True, kw_only=True, tag="refusal"):
    """Record of something from a neighbour that was refused. The writer escapes and cuts `field` and `why`."""

    peer: PeerName
    about: PeerName
    field: str
    why: str


class Note(_Record, frozen=True, kw_only=True, tag="note"):
    """Record of an event for display: the learner was restarted, a state file was corrupt, a link came back."""

    peer: PeerName
    level: NoteLevel
    text: Annotated[str, msgspec.Meta(max_length=500)]


Record: TypeAlias = Begun | Round | Refusal | Note


class Traffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Bytes sent and received since the process started, by kind (`announce`, `blob`, `known`, `wire`)."""

    sent: dict[str, int]
    received: dict[str, int]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A record in the history file, with the time of writing (Unix seconds) and the traffic up to then."""

    at_s: float
    traffic: Traffic
    record: Record
