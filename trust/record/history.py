"""The append-only record that peers and the simulator write and every inspection command reads.

One file, MessagePack values one after the other, so that any streaming reader can follow it. A record
is written with one `write` of its whole bytes. A file whose last record is torn (the machine lost
power, or the writer is in the middle of it) is read up to there; nothing after a torn or foreign byte
is guessed at. This file holds the types; `log.py` writes and reads them.

The records are facts with a peer's name on them, never training text and never keys. They are trees of
numbers and strings, so the garbage collector need not look at them (`gc=False`): reading many histories
takes half the time.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

HISTORY_FILE = "history.msgpack"
VERSION = 3
"""Version 2 says in its rounds what was trained and offered, version 3 also all that a row was computed from. Records
of an earlier version read as if that were not known."""

PeerName: TypeAlias = str
"""A peer's id as text (`12D3KooW...`); `Begun.name` says what people call it."""


Guard: TypeAlias = Literal["alone", "taken", "shrunk", "refused"]
"""What became of a merge: there was none, or it was taken, moved toward the peer's own adapter, or refused."""

NoteLevel: TypeAlias = Literal["info", "warning", "error"]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", gc=False):
    pass


class Begun(_Record, frozen=True, kw_only=True, tag="begun"):
    """A peer's process started (again) at `round`."""

    version: int = VERSION
    peer: PeerName
    name: str
    round: int
    base: str
    """Fingerprint of the base model, hexadecimal, as are the other three."""
    tokenizer: str
    reference: str
    layout: str
    strategy: str
    merge: str
    test_loss: float
    """Nats per token on the test split, of the adapter it goes on from; at round 0 the base model's."""
    program: str = ""
    """Version of gossipllm, empty where not known."""
    trust: str = ""
    """The whole `TrustConfig` as a JSON object, empty where not known."""
    alpha: float = 1.0
    """What `tokens_alpha` came to."""
    guarded: bool = True
    """Whether merges that make the trust loss worse are shrunk or refused."""


class Seen(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """What was known of one neighbour when a row was computed.

    `distance` is the strategy's, with its standard error (0 where the strategy has none), `age` the
    rounds of ours since its announcement came, `its_round` its own count, `tokens` what it says it
    processed. `weight` is its entry of the row that was finally used. Where the strategy has distances of
    several kinds, `distance` is the first and `distances` are all of them; otherwise `distances` is empty, and so for
    `errors`. `own` is the same measure of the peer itself, by kind, empty where that is 0 of each. `rank` is
    that of its adapter, 0 where it has none or that is not known. `samples` and the totals are claims like `tokens`.
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


class Round(_Record, frozen=True, kw_only=True, tag="round"):
    """One finished round: the row that was used, what it was chosen from, and what it did.

    Losses are nats per token. `trust_alone` and `trust_merged` are of this peer's trust split, before
    and after the merge; the two test losses are only ever reported. `temperature` is the chosen one,
    None where the row has none. `tried` lists every candidate as (temperature, loss); `guard` says
    whether the merge was taken, shrunk toward this peer's own adapter, or refused.

    Where mass is pushed along edges instead (push-sum) there is no row: the peer's own weight is 1, that of whoever
    was seen 0, and `absorbed` counts the shares taken in; the guard says "taken" where there were any.
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
    """All that this peer ever trained on, as of this round; 0 where not known, and so for samples."""
    samples_total: int = 0
    offered: int = 0
    """Units of the adapter that were trained and offered; 0 where not known."""
    window: int | None = None
    """First block of those that were trained, None where they were not a window of blocks."""
    importance: tuple[float | None, ...] = ()
    """Of each layer, the running mean of what this peer measured, None where it never did; empty where layers are
    not chosen."""
    absorbed: int = 0


class Refusal(_Record, frozen=True, kw_only=True, tag="refusal"):
    """Something of a neighbour's was not taken. `field` and `why` are escaped and cut by the writer."""

    peer: PeerName
    about: PeerName
    field: str
    why: str


class Note(_Record, frozen=True, kw_only=True, tag="note"):
    """A fact for people: the learner died and was restarted, a state file was corrupt, a link came back."""

    peer: PeerName
    level: NoteLevel
    text: Annotated[str, msgspec.Meta(max_length=500)]


Record: TypeAlias = Begun | Round | Refusal | Note


class Traffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Bytes since the process started, sent and received, by kind (`announce`, `blob`, `known`, `wire`)."""

    sent: dict[str, int]
    received: dict[str, int]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A record as it stands in the file: when it was written (Unix seconds), and the traffic by then."""

    at_s: float
    traffic: Traffic
    record: Record
