"""The requests of a peer's core to its learner and the learner's answers, as the two processes exchange them.

No torch here, because the network process uses these types without loading it. A request carries all that is needed
to perform it, and an answer has its request's number, so that a late or repeated answer can be told from the awaited
one. Large data (updates, predictions, snapshots) is `Content`: bytes with their SHA-256, which `pipe.py` sends once to
a learner process, however many requests refer to it.
"""

from gossipllm.work.answers import (
    BEAT_S,
    BIND_TOLERANCE,
    EXHAUSTED,
    Answer,
    Averaged,
    Beat,
    Confirmation,
    Confirmed,
    Declined,
    Evaluated,
    Failed,
    Fitted,
    Merged,
    Opened,
    Progress,
    Trained,
    Weighed,
)
from gossipllm.work.requests import (
    Absorb,
    Confirm,
    Evaluate,
    Finalist,
    Fit,
    Lesson,
    Merge,
    Open,
    Request,
    Restore,
    Train,
    Weigh,
    Work,
)
from gossipllm.work.words import (
    MadeContext,
    PackedUpdate,
    PushedShare,
    RequestId,
)

__all__ = [
    "BEAT_S",
    "BIND_TOLERANCE",
    "EXHAUSTED",
    "Absorb",
    "Answer",
    "Averaged",
    "Beat",
    "Confirm",
    "Confirmation",
    "Confirmed",
    "Declined",
    "Evaluate",
    "Evaluated",
    "Failed",
    "Finalist",
    "Fit",
    "Fitted",
    "Lesson",
    "MadeContext",
    "Merge",
    "Merged",
    "Open",
    "Opened",
    "PackedUpdate",
    "Progress",
    "PushedShare",
    "Request",
    "RequestId",
    "Restore",
    "Train",
    "Trained",
    "Weigh",
    "Weighed",
    "Work",
]
