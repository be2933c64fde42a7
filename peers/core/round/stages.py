"""The stages of a round: where a peer is, what it waits for, and what may come next.

A peer is in one stage at a time; each stage holds what it waits for. `TRANSITIONS` is the whole table of stage x
event -> next stages and effects. The code that moves between the stages is in `rounds.py` (and, before the learner is
open for the first time, in `peers.core.starting`); every step that a test of the core makes is held against
this table, and a random walk shows that each of its rows happens. `docs/pages/images/stages.svg` is drawn from it.

Not in the table, because they change no stage: what neighbours send in any other stage than Gathering, and the timer
of the next comparison, which have effects that serve neighbours (`SERVING`); and events that come late or twice, which
have no effects but the answer that the driver waits for (`Judge`, `Answer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from gossipllm.work import (
    Absorb,
    Confirm,
    Confirmed,
    Declined,
    Evaluate,
    Evaluated,
    Failed,
    Fit,
    Fitted,
    Merge,
    Merged,
    Open,
    Opened,
    PushedShare,
    Restore,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from peers.core.effects import (
    Adopt,
    Answer,
    Drop,
    Effect,
    Greet,
    Judge,
    Keep,
    Log,
    Publish,
    Pull,
    Stop,
    Store,
    WakeAt,
)
from peers.core.events import (
    Blocked,
    Comparing,
    Connected,
    Deadline,
    Disconnected,
    Event,
    Greeted,
    Heard,
    LearnerLost,
    Misbehaved,
    NotPulled,
    NotStored,
    PeerId,
    Pulled,
    Reopening,
    Replied,
    SavingAgain,
    Started,
    Stored,
    TextChanged,
    Timer,
)
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.round.decision.choosing import Choice
from trust.record.history import LeftOut
from trust.rows.certainty import NO_MERITS, Merits
from trust.rows.evidence import Distance
from trust.rows.rows import Candidate, Counts
from wire.digest import Content


class Participant(msgspec.Struct, frozen=True):
    """A neighbour in this round's comparison: its announcement, and its staleness (`Inbox.staleness`) when we asked.

    `update` is None where none is fetched: the neighbour pushes a share instead (`Participants.shares`), or holds
    another base. `byte_rows` are the predictions of one with another tokenizer. The contents stand beside the
    announcement because the inbox may let go of them while the round goes on. `distances` and `own_measures` (this
    peer's own value of each measure) are the learner's answer; empty before that, and where nothing is measured. `gain`
    and what follows it is known once the neighbour was tried by itself (`decision/confirming.py`); `standing` is what
    it had earned before. `teaches` is its weight in the row of those whose predictions are distilled, None where peers
    of other bases have no part in that row.
    """

    received: ReceivedAnnouncement
    update: Content | None
    evidence: Content | None
    staleness: int
    distances: tuple[Distance, ...] = ()
    own_measures: tuple[float, ...] = ()
    gain: float | None = None
    gain_error: float = 0.0
    left: LeftOut | None = None
    twin_of: PeerId = ""
    mismatch: float = 0.0
    standing: float = 0.0
    teaches: float | None = None
    byte_rows: Content | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """The learner loads, to answer `request`. None: it was not asked yet, or pauses after it died."""

    request: int | None


@dataclass(frozen=True, slots=True)
class Training:
    """Local steps. `receivers` get shares of mass (peer -> public key); `context` is the fetched one that is used."""

    request: int
    receivers: Mapping[PeerId, bytes] = field(default_factory=dict[PeerId, bytes])
    context: Content | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """The signed announcement waits for the disk."""

    generation: int


@dataclass(slots=True)
class Gathering:
    """Waiting for neighbours, and having their updates weighed.

    `over` says that patience ended. `leaving` says that no further neighbour is asked about: one that announces again
    and again must not keep this peer here. `asked` is the last announcement of each author that was asked about.
    `looked` is the state of the inbox at the last look: while it is unchanged there is no other neighbour to ask about.
    """

    since: float
    over: bool = False
    leaving: bool = False
    looked: tuple[bool, int, frozenset[PeerId]] | None = None
    asked: dict[PeerId, ReceivedAnnouncement] = field(default_factory=dict[PeerId, ReceivedAnnouncement])
    weighing: dict[int, Participant] = field(default_factory=dict[int, Participant])
    """Request -> the neighbour that it asks about."""
    weighed: dict[PeerId, Participant] = field(default_factory=dict[PeerId, Participant])
    declined: set[PeerId] = field(default_factory=set[PeerId])


@dataclass(frozen=True, slots=True)
class Participants:
    """The neighbours of this round's row, and how long they took to gather.

    `members` are sorted by author, and every row is in that order: weight 0 is this peer's own, weight k + 1 that of
    `members[k]`.

    `merits` are what merges gained up to now, with this round's as soon as it is judged.

    `own_loss` is this peer's loss on its trust split after its local steps, `previous` the weights of the last row,
    `own_counts` this peer's own text by the count that `trust.tokens_count` names. `shares` are absorbed in place of
    a row where the network mixes by push-sum. `left` are the neighbours that were left out of the row, `round` is
    this peer's, and `local_steps` are those that it took in it. `foreign` are neighbours with other bases, sorted by
    author, whose predictions are compared; they are in no row that is merged. Those that this peer can do nothing with
    (`relation` "apart") are among them, without distances.
    """

    members: tuple[Participant, ...]
    gathered_s: float
    own_loss: float
    previous: Mapping[PeerId, float]
    own_counts: Counts
    shares: tuple[PushedShare, ...]
    left: tuple[Participant, ...] = ()
    round: int = 0
    local_steps: int = 0
    foreign: tuple[Participant, ...] = ()
    merits: Merits = NO_MERITS


@dataclass(frozen=True, slots=True)
class Confirming:
    """The learner tries each neighbour by itself."""

    request: int
    participants: Participants


@dataclass(frozen=True, slots=True)
class Fitting:
    """The learner fits a row by gradient (strategy `learned`)."""

    request: int
    participants: Participants


@dataclass(frozen=True, slots=True)
class Choosing:
    """The learner measures the candidate rows, and last the row that keeps everything."""

    request: int
    participants: Participants
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Shrinking:
    """No candidate beat keeping everything; the best is measured again, moved towards it. `tried` has the losses of
    the candidates, which the history shows whatever comes of the shrunk ones."""

    request: int
    participants: Participants
    candidates: tuple[Candidate, ...]
    tried: tuple[tuple[float | None, float], ...]


@dataclass(frozen=True, slots=True)
class Merging:
    """The learner merges by the chosen row. `tried` lists (temperature, loss) of the measured candidates, empty where
    there was no choice. With push-sum it absorbs shares, and the row keeps everything."""

    request: int
    participants: Participants
    choice: Choice
    tried: tuple[tuple[float | None, float], ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """At rest at the best state (`memory/settling.py`), until neighbours bring news. `open` says whether the learner
    is, which is not opened again before it is needed."""

    open: bool = True


@dataclass(frozen=True, slots=True)
class Resting:
    """All rounds are done. The last announcement is still served to neighbours."""


Stage: TypeAlias = (
    Opening
    | Training
    | Saving
    | Gathering
    | Confirming
    | Fitting
    | Choosing
    | Shrinking
    | Merging
    | Settled
    | Resting
)

STAGES: Final[tuple[type[Stage], ...]] = (
    Opening,
    Training,
    Saving,
    Gathering,
    Confirming,
    Fitting,
    Choosing,
    Shrinking,
    Merging,
    Settled,
    Resting,
)
"""In the order of a round."""

Kind: TypeAlias = type[Event] | type[Timer]
"""The kind of an event; of `Woke`, the kind of its timer."""

FROM_NEIGHBOURS: Final[tuple[Kind, ...]] = (
    Heard,
    Greeted,
    Replied,
    Connected,
    Disconnected,
    Pulled,
    NotPulled,
    Misbehaved,
    Blocked,
)
SERVING: Final[frozenset[type[Effect]]] = frozenset({Judge, Answer, Greet, Pull, Drop, Log, WakeAt, Stop})
"""Effects that any event may have in any stage: they serve neighbours, log, or set the next comparison. Stop: a
neighbour that the user named is of another network, or this peer's own key is at work elsewhere."""


@dataclass(frozen=True, slots=True)
class Transition:
    """In `stage`, an event of one of these kinds may lead to each stage of `to`, with effects among `effects`."""

    stage: type[Stage]
    events: tuple[Kind, ...]
    to: tuple[type[Stage], ...]
    effects: tuple[type[Effect], ...]


_TO_A_ROW = (Fitting, Choosing, Merging)
"""Where a round goes once its members are known, by the strategy and the guard: to Merging where there is no choice."""
_AFTER_GATHERING = (Confirming, *_TO_A_ROW)
_ROW_REQUESTS = (Confirm, Fit, Evaluate, Merge, Absorb, Restore)

TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(Opening, (Started, Reopening), (Opening,), (Open, WakeAt)),
    Transition(
        Opening,
        (Opened,),
        (
            Opening,  # Stop: the learner is not the one that the saved state belongs to
            Training,  # the saved state is the beginning of a round
            Saving,  # it was announced, and is not known to be on the disk
            Gathering,  # it was announced and is on the disk: it is published again, not trained again
            *_AFTER_GATHERING,  # the same, with nothing to wait for
            Settled,  # it gained no more
            Resting,  # its round is the last
        ),
        (Adopt, Greet, Log, Stop, Open, Train, Store, Publish, WakeAt, Pull, Weigh, *_ROW_REQUESTS),
    ),
    Transition(Training, (Trained,), (Saving,), (Log, Store)),
    Transition(
        Saving, (Stored,), (Gathering, *_AFTER_GATHERING), (Publish, Log, WakeAt, Pull, Weigh, *_ROW_REQUESTS)
    ),
    Transition(
        Gathering,
        (*FROM_NEIGHBOURS, Weighed, Declined, Deadline),
        (Gathering, *_AFTER_GATHERING),
        (*SERVING, Weigh, *_ROW_REQUESTS),
    ),
    # Back to Confirming, or to Fitting or Choosing where none is tried by itself: a member of the row was banned.
    Transition(Confirming, (Confirmed,), _AFTER_GATHERING, (Log, Drop, Confirm, Fit, Evaluate, Merge)),
    Transition(Fitting, (Fitted,), _AFTER_GATHERING, (Confirm, Fit, Evaluate, Merge)),
    Transition(Choosing, (Evaluated,), (Shrinking, *_AFTER_GATHERING), (Confirm, Fit, Evaluate, Merge)),
    Transition(Shrinking, (Evaluated,), _AFTER_GATHERING, (Confirm, Fit, Evaluate, Merge)),
    # To Opening where the merge has no finite loss: the learner is opened again with the state before the merge. And
    # where the text changed meanwhile.
    Transition(
        Merging,
        (Merged,),
        (Training, Settled, Resting, Opening),
        (Log, Keep, Drop, Store, Train, Open, WakeAt),
    ),
    # News that came while this peer rests after a vain look waits for the next comparison. To Opening where the learner
    # died meanwhile.
    Transition(Settled, (*FROM_NEIGHBOURS, Comparing), (Settled, Training, Opening), (*SERVING, Train, Open)),
    Transition(Settled, (LearnerLost,), (Settled,), ()),
    # The learner is opened again with the text that there is now; in other stages, when the round is over.
    Transition(Settled, (TextChanged,), (Opening,), (Open,)),
    *(
        Transition(stage, (Failed, LearnerLost), (Opening,), (Log, WakeAt, Stop))
        for stage in (Opening, Training, Gathering, Confirming, Fitting, Choosing, Shrinking, Merging)
    ),
    Transition(Saving, (LearnerLost,), (Opening,), (Log, WakeAt, Stop)),
    # A full disk holds up Saving alone: a later state takes the place of the one that it refused. Stop: a broken one.
    *(Transition(stage, (NotStored, SavingAgain), (stage,), (Log, WakeAt, Store, Stop)) for stage in STAGES),
)
