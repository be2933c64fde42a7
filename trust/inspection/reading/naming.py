"""What everybody is called that a run speaks of."""

from __future__ import annotations

from collections.abc import Sequence

from trust.record.history import PeerName
from trust.record.matrix import PeerRounds, trust_matrix


def names_of(known: Sequence[PeerRounds]) -> dict[PeerName, str]:
    """Id -> name, which may be empty. First who wrote histories, then whom only others saw, in any round."""
    latest = trust_matrix(known)
    names = dict(zip(latest.peers, latest.names, strict=True))
    for one in (one for member in known for record in member.rounds.values() for one in record.seen):
        names[one.peer] = names.get(one.peer) or one.name
    return names


def listed(names: Sequence[str], most: int) -> str:
    """The first `most` of them, and how many more there are. Empty where there is none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
