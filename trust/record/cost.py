"""What a round cost its peer, as the history records it."""

from __future__ import annotations

import msgspec


class Cost(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """What a peer spent from its last record of a round, or the start of its process, to this one.

    `joules` never stand without their `method`, because counted and estimated ones are not the same. Counted joules are
    of the whole machine. `processor_s` are seconds of processors that the peer used, its learner's process included,
    `peak_bytes` the most memory that the learner's process held so far; 0 where not known. `sent` and `received` are
    bytes of all kinds.
    """

    joules: float
    method: str
    seconds: float
    processor_s: float = 0.0
    peak_bytes: int = 0
    sent: int = 0
    received: int = 0
