"""The trust matrix of several peers, collected from their histories.

Peers have no common round: a matrix holds the latest row of each peer, or their rows of one round number.

Axis: P peers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trust.record.history import Begun, Entry, PeerName, Round
from trust.rows.evidence import F64


@dataclass(frozen=True, slots=True)
class PeerRounds:
    """The rounds that one peer's own records hold, by number, in the order written.

    Of a round that was repeated after a crash, the last record counts.
    """

    peer: PeerName
    name: str
    rounds: dict[int, Round]

    def at(self, number: int | None) -> Round | None:
        """The record of round `number`, or the latest written; None where there is none."""
        if number is not None:
            return self.rounds.get(number)
        return next(reversed(self.rounds.values()), None)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The trust matrix: `rows_PP[i, j]` is the weight that peer i gives peer j; nan in the row of an unknown peer.

    `rounds[p]` is the round of row p, None where the row is not known. Peers with records come first, then neighbours
    that only other peers' records mention; both sorted by name, with numbers in names by value.
    """

    peers: tuple[PeerName, ...]
    names: tuple[str, ...]
    rounds: tuple[int | None, ...]
    rows_PP: F64


def members(entries: Iterable[Entry]) -> tuple[PeerRounds, ...]:
    """The peers that wrote these entries, with their rounds; the entries may come from one file or several."""
    names: dict[PeerName, str] = {}
    rounds: dict[PeerName, dict[int, Round]] = {}
    for record in (entry.record for entry in entries):
        if isinstance(record, Begun):
            names[record.peer] = record.name
        if isinstance(record, Round):
            of_peer = rounds.setdefault(record.peer, {})
            # A repeated round moves to the end, because `PeerRounds.at` takes the latest written.
            of_peer.pop(record.round, None)
            of_peer[record.round] = record
    peers = dict.fromkeys((*names, *rounds))
    return tuple(PeerRounds(peer, names.get(peer, ""), rounds.get(peer, {})) for peer in peers)


def trust_matrix(known: Sequence[PeerRounds], *, at_round: int | None = None) -> Matrix:
    """The rows of `at_round`, or the latest row of each peer. A peer that a row does not mention has weight 0 in it."""
    records = {member.peer: member.at(at_round) for member in known}
    own_names = {member.peer: member.name for member in known}
    names = _names_from_others(records.values()) | {peer: name for peer, name in own_names.items() if name}
    peers = sorted(
        names | own_names, key=lambda peer: (peer not in records, _order(names.get(peer, "")), peer)
    )
    place = {peer: index for index, peer in enumerate(peers)}
    rows_PP = np.full((len(peers), len(peers)), np.nan)
    for peer, record in records.items():
        if record is None:
            continue
        row_P = rows_PP[place[peer]]
        row_P[:] = 0.0
        row_P[place[peer]] = record.self_weight
        for neighbour in record.seen:
            row_P[place[neighbour.peer]] = neighbour.weight
    rounds = (records.get(peer) for peer in peers)
    return Matrix(
        peers=tuple(peers),
        names=tuple(names.get(peer, "") for peer in peers),
        rounds=tuple(record.round if record else None for record in rounds),
        rows_PP=rows_PP,
    )


def _names_from_others(records: Iterable[Round | None]) -> dict[PeerName, str]:
    """The names that records give to their neighbours.

    Of several names for a neighbour, the one in the record of the highest peer id counts, so that the order of files
    does not matter.
    """
    known = sorted((record for record in records if record), key=lambda record: record.peer)
    return {neighbour.peer: neighbour.name for record in known for neighbour in record.seen}


def _order(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a name by which `peer-2` comes before `peer-10`."""
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part
    )
