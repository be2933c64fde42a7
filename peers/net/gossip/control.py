"""What GossipSub's control messages may hold, cut to that before the library sees them.

A control message is a list of entries for any topics and ids, and the library works through all of it: 4,000 IHAVE
entries in 82 kB stalled the event loop for half a second. What is left here names our topic, each kind of entry once,
and ids without repeats, of GossipSub 1.1 only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from libp2p.pubsub.pb import rpc_pb2

from peers.net.limits import faults
from peers.net.limits.faults import ProtocolFault

MAX_ENTRIES: Final = 64
MAX_IDS: Final = 256
MAX_ID_BYTES: Final = 64
MAX_BACKOFF_S: Final = 3_600
"""A neighbour that prunes us may ask to be left alone for an hour, not for 2^64 seconds."""


def relevant_control(
    control: rpc_pb2.ControlMessage, topic: str
) -> tuple[rpc_pb2.ControlMessage, list[ProtocolFault]]:
    """The part of `control` that concerns `topic`, and what was wrong with the rest."""
    relevant, found = rpc_pb2.ControlMessage(), list[ProtocolFault]()
    counts = {
        "ihave": len(control.ihave),
        "iwant": len(control.iwant),
        "graft": len(control.graft),
        "prune": len(control.prune),
        "idontwant": len(control.idontwant),
    }
    if sum(counts.values()) > MAX_ENTRIES:
        worst = max(counts, key=lambda kind: counts[kind])
        return relevant, [flood(f"{counts[worst]} {worst} > {MAX_ENTRIES}")]
    topics = [entry.topicID for entry in (*control.ihave, *control.graft, *control.prune)]
    if any(each != topic for each in topics):
        found.append(ProtocolFault("control.topic", "not ours", faults.UNKNOWN_TOPIC))
    offered = [id_ for entry in control.ihave if entry.topicID == topic for id_ in entry.messageIDs]
    wanted = [id_ for entry in control.iwant for id_ in entry.messageIDs]
    found += [
        flood(f"{len(ids)} ids in {kind} > {MAX_IDS}")
        for kind, ids in (("ihave", offered), ("iwant", wanted))
        if len(ids) > MAX_IDS
    ]
    if ids := _distinct(offered):
        relevant.ihave.append(rpc_pb2.ControlIHave(topicID=topic, messageIDs=ids))
    if ids := _distinct(wanted):
        relevant.iwant.append(rpc_pb2.ControlIWant(messageIDs=ids))
    if any(entry.topicID == topic for entry in control.graft):
        relevant.graft.append(rpc_pb2.ControlGraft(topicID=topic))
    backoffs = [entry.backoff for entry in control.prune if entry.topicID == topic]
    if backoffs:
        backoff = min(max(backoffs), MAX_BACKOFF_S)
        relevant.prune.append(rpc_pb2.ControlPrune(topicID=topic, backoff=backoff))
    return relevant, found


def flood(why: str) -> ProtocolFault:
    return ProtocolFault("control.count", why, faults.FLOOD)


def _distinct(ids: Sequence[bytes]) -> list[bytes]:
    first: Iterable[bytes] = dict.fromkeys(ids[:MAX_IDS])
    return [id_ for id_ in first if len(id_) <= MAX_ID_BYTES]
