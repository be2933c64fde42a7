"""Writes a run as NumPy arrays into one .npz file. Axes: R rounds, P peers, L losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Final

import numpy as np

from trust.inspection.reading.naming import peer_names
from trust.names import escaped
from trust.record.matrix import PeerRounds

LOSSES: Final = ("train_loss", "trust_alone", "trust_merged", "test_alone", "test_merged")

LEGEND: Final = (
    "rows_RPP[r, i, j]: what peer i took from peer j in its round rounds[r], itself at j = i; nan where not recorded",
    "distances_RPP[r, i, j]: how far j was from i by the strategy's first kind of evidence; nan where not seen",
    "relations_RPP[r, i, j]: merges, distils, compares or apart, what j was to i; empty where not seen",
    "losses_RPL[r, i, l]: the loss named losses[l] of peer i, nats per token; nan where not recorded",
    "rounds, peers (ids), names, losses: what the axes R, P, P and L stand for",
)


def write_npz(file: BinaryIO, known: Sequence[PeerRounds], *, at_round: int | None) -> None:
    """Write the arrays named in `LEGEND`, compressed. The file can be loaded without `allow_pickle`."""
    names = peer_names(known)
    place = {peer: index for index, peer in enumerate(names)}
    numbers = sorted({number for member in known for number in member.rounds if at_round in (None, number)})
    row_of = {number: index for index, number in enumerate(numbers)}
    rows_RPP, distances_RPP = (np.full((len(numbers), len(names), len(names)), np.nan) for _ in range(2))
    relations_RPP = np.full(rows_RPP.shape, "", dtype="U8")
    losses_RPL = np.full((len(numbers), len(names), len(LOSSES)), np.nan)
    for member in known:
        i = place[member.peer]
        for number, record in member.rounds.items():
            r = row_of.get(number)
            if r is None:
                continue
            rows_RPP[r, i] = 0.0
            rows_RPP[r, i, i] = record.self_weight
            for seen in record.seen:
                rows_RPP[r, i, place[seen.peer]] = seen.weight
                relations_RPP[r, i, place[seen.peer]] = seen.relation
                if seen.relation != "apart":
                    distances_RPP[r, i, place[seen.peer]] = seen.distance
            losses_RPL[r, i] = [getattr(record, loss) for loss in LOSSES]
    np.savez_compressed(
        file,
        rows_RPP=rows_RPP,
        distances_RPP=distances_RPP,
        relations_RPP=relations_RPP,
        losses_RPL=losses_RPL,
        rounds=np.array(numbers, dtype=np.int64),
        peers=np.array([escaped(peer) for peer in names], dtype=np.str_),
        names=np.array([escaped(name) for name in names.values()], dtype=np.str_),
        losses=np.array(LOSSES),
        legend=np.array(LEGEND),
    )
