"""Names of all peers that a run mentions, and lists of names cut to a length."""

from __future__ import annotations

from collections.abc import Sequence

from trust.record.history import PeerName
from trust.record.matrix import PeerRounds, trust_matrix


def peer_names(known: Sequence[PeerRounds]) -> dict[PeerName, str]:
    """Id -> name (may be empty): first the peers that wrote histories, then those that only others saw in any round."""
    latest = trust_matrix(known)
    names = dict(zip(latest.peers, latest.names, strict=True))
    for seen in (seen for member in known for record in member.rounds.values() for seen in record.seen):
        names[seen.peer] = names.get(seen.peer) or seen.name
    return names


def listed(names: Sequence[str], limit: int) -> str:
    """The first `limit` names, joined by commas, and how many more there are. Empty for no names."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
