"""Writes the trust network of one round as GraphML, with an edge from each learning peer to the neighbours that it
gives weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final, cast

from trust.inspection.reading.naming import peer_names
from trust.names import escaped
from trust.record.history import Round
from trust.record.matrix import PeerRounds

_LOSSES: Final = ("trust_alone", "trust_merged", "test_alone", "test_merged")


def write_graphml(
    file: BinaryIO, known: Sequence[PeerRounds], *, at_round: int | None, threshold: float
) -> None:
    """Write the rows of `at_round`, or each peer's latest. Edges are weights above 0 that reach `threshold`.

    A node has the peer's id as its key, and its name; if its row is known, also round, self weight, losses in nats per
    token and guard. An edge has its weight, and the distance where that is finite.
    """
    import networkx as nx  # takes a third of a second to import, and only this format needs it

    graph = cast("Any", nx).DiGraph()
    rows = {member.peer: member.at(at_round) for member in known}
    for peer, name in peer_names(known).items():
        graph.add_node(escaped(peer), name=escaped(name), **_about(rows.get(peer)))
    for peer, record in rows.items():
        for seen in record.seen if record else ():
            if seen.weight > 0 and seen.weight >= threshold:
                numbers = _finite({"weight": seen.weight, "distance": seen.distance})
                graph.add_edge(escaped(peer), escaped(seen.peer), **numbers)
    cast("Any", nx).write_graphml(graph, file)


def _about(record: Round | None) -> dict[str, int | float | str]:
    if record is None:
        return {}
    numbers = _finite({name: getattr(record, name) for name in ("self_weight", *_LOSSES)})
    return {"round": record.round, **numbers, "guard": record.guard}


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers that are finite: GraphML has no null, and its readers differ about nan."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
