"""The network of trust of one round as GraphML: an edge from who learns to whom it takes from."""

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
    """The rows of `at_round`, or each peer's latest. Edges are weights above 0 that reach `threshold`.

    A node is called by its peer's id, and has its name; where its row is known also its round, self weight,
    losses in nats per token and guard. An edge has its weight, and the distance where that is finite.
    """
    import networkx as nx  # a third of a second, and only this needs it

    graph = cast("Any", nx).DiGraph()
    rows = {member.peer: member.at(at_round) for member in known}
    for peer, name in peer_names(known).items():
        graph.add_node(escaped(peer), name=escaped(name), **_about(rows.get(peer)))
    for peer, record in rows.items():
        for one in record.seen if record else ():
            if one.weight > 0 and one.weight >= threshold:
                numbers = _finite({"weight": one.weight, "distance": one.distance})
                graph.add_edge(escaped(peer), escaped(one.peer), **numbers)
    cast("Any", nx).write_graphml(graph, file)


def _about(record: Round | None) -> dict[str, int | float | str]:
    if record is None:
        return {}
    numbers = _finite({name: getattr(record, name) for name in ("self_weight", *_LOSSES)})
    return {"round": record.round, **numbers, "guard": record.guard}


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """GraphML has no null, and readers differ about nan."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
