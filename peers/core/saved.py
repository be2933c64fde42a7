"""The saved state: what of a peer survives a crash, one frozen value that is replaced as a whole.

Two moments of a round are saved, as its `stage`. `training`: the state in which the local steps of `round` begin.
`published`: the state after them, together with the signed announcement of that very state. The second is
saved *before* the announcement is published, so a crash can only repeat an announcement, never make a
second one for the same round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from gossipllm.work import PackedUpdate, PushedShare
from peers.core.asking import ASKING, Asking
from peers.core.course import Course
from peers.core.plateau import Plateau
from trust.rows.certainty import NO_MERITS, Merits
from trust.rows.units.importance import Importance
from wire.codec import announcement_digest, speaks_this_version
from wire.digest import Content
from wire.messages import Fingerprints

SAVED_VERSION = 2
"""Version 1 belonged to protocol 1, which no peer speaks any more. States of protocol 2 are read (`spoken`)."""


class SavedScore(msgspec.Struct, frozen=True, array_like=True):
    """A peer's score as of a moment, in Unix seconds so that it means something after a restart."""

    peer: str
    score: float
    at_s: float
    banned_until_s: float


class SavedSeat(msgspec.Struct, frozen=True, array_like=True):
    """A neighbour's standing (`trust.rows.standing`), in [0, 1]."""

    peer: str
    level: float


class SavedHeard(msgspec.Struct, frozen=True, array_like=True):
    """The latest announcement that was accepted of an author (its public key), so that a restart neither takes an
    earlier one nor forgets that there was one for this round."""

    author: bytes
    round: int
    digest: bytes


class Plan(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What local steps train. `units` is a bitmap of the network's units (`wire.updates.units`), empty for all units of
    this peer's adapter; `first_block` the first block of a block window, -1 where blocks are not chosen."""

    units: bytes = b""
    first_block: int = -1


WHOLE: Final = Plan()


class LocalSteps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learner's account of the local steps that `frame` announces. Losses in nats per token.

    `average_loss` is the trust loss of the moving average of such adapters, None where it was not measured. `offered`
    counts the units of the update; `first_block` is the first block of the block window that was trained,
    -1 where blocks are not chosen. On disk it is called `window`.
    """

    tokens: int
    samples: int
    steps: int
    train_loss: float
    trust_loss: float
    seconds: float
    offered: int = 0
    average_loss: float | None = None
    first_block: int = msgspec.field(default=-1, name="window")


class Saved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One generation of the state. `frame` is the last announcement, if any; its blobs are kept while `published`.

    The totals count all tokens and samples that were ever processed. `importance` is the running mean of the measured
    importance of each layer, `measured` the number of its measurements; both are empty where layers are not chosen.
    `good` is the snapshot of the last good state (`peers.core.course`), None where there is none or it is `snapshot`;
    `best` is likewise the state of least trust loss (`peers.core.plateau`), None in a peer that never settles. `text`
    is the ledger of the text that was dealt to the splits (`gossipllm.text.growth`). `plan` says what the next local
    steps train, so that a round that is repeated after a crash is the same round; `clock` is the reading of the
    network's token clock that they are taken by, 0 where no schedule asks for it. `merits` is what merges gained up to
    now. `byte_rows` is None where `frame`
    announces none.
    """

    version: int = SAVED_VERSION
    generation: int
    round: int
    stage: Literal["training", "published"]
    fingerprints: Fingerprints
    snapshot: Content | None
    frame: bytes
    update: Content | None
    evidence: Content | None
    local: LocalSteps | None
    standings: tuple[SavedScore, ...]
    seats: tuple[SavedSeat, ...] = ()
    heard: tuple[SavedHeard, ...] = ()
    shares: tuple[PushedShare, ...] = ()
    tokens_total: int = 0
    samples_total: int = 0
    importance: Importance = ()
    measured: tuple[int, ...] = ()
    plan: Plan = WHOLE
    course: Course = Course()
    good: Content | None = None
    plateau: Plateau = Plateau()
    best: Content | None = None
    asking: Asking = ASKING
    text: Content | None = None
    byte_rows: Content | None = None
    packed: tuple[PackedUpdate, ...] = ()
    clock: int = 0
    merits: Merits = NO_MERITS

    @property
    def best_snapshot(self) -> Content | None:
        """The best state that this peer ever had; None before its first local steps."""
        return self.best or self.snapshot


@dataclass(frozen=True, slots=True)
class Announced:
    """The parts of a saved state that are there while its stage is `published`."""

    local: LocalSteps
    update: Content
    evidence: Content
    byte_rows: Content | None

    @property
    def predictions(self) -> tuple[Content, ...]:
        """In each form in which they are announced."""
        return (self.evidence,) if self.byte_rows is None else (self.evidence, self.byte_rows)


def announced_of(saved: Saved) -> Announced:
    """What `saved` announces. To be called from the end of local steps to the end of the merge."""
    assert saved.local is not None, "an announcement follows local steps"
    assert saved.update is not None, "an announcement names an update"
    assert saved.evidence is not None, "an announcement names predictions"
    return Announced(saved.local, saved.update, saved.evidence, saved.byte_rows)


def beginning(fingerprints: Fingerprints) -> Saved:
    """The state of a peer that never ran."""
    return Saved(
        generation=0,
        round=0,
        stage="training",
        fingerprints=fingerprints,
        snapshot=None,
        frame=b"",
        update=None,
        evidence=None,
        local=None,
        standings=(),
    )


def last_announced(saved: Saved) -> tuple[int, bytes | None]:
    """The last round that was announced when this state was saved, with the digest of the announcement where the state
    still holds it; round -1 for none."""
    if saved.stage == "published":
        return saved.round, announcement_digest(saved.frame)
    return saved.round - 1, None


def spoken(saved: Saved) -> Saved:
    """The state to go on from in this version of the protocol.

    An announcement of an earlier version is one that no peer of this version takes. Its round is over, because what was
    announced under its number stays so, and the state after its local steps is still good.
    """
    if not saved.frame or speaks_this_version(saved.frame):
        return saved
    over = saved.stage == "published"
    return msgspec.structs.replace(
        saved,
        round=saved.round + over,
        stage="training",
        frame=b"",
        update=None,
        evidence=None,
        shares=(),
        byte_rows=None,
        packed=(),
    )


def recovered(saved: Saved, *, published_round: int) -> Saved:
    """The state to go on from when `published_round` is the last round known to have been announced.

    An older generation (its successor was corrupt) may lie before that announcement. Its round is over then,
    since training it again would announce other bytes under the same number; its state is still good.
    """
    fresh = saved.stage == "published" and saved.round == published_round
    if fresh or saved.round > published_round:
        return saved
    return msgspec.structs.replace(saved, round=published_round + 1, stage="training")
