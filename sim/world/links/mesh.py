"""GossipSub's mesh in a simulated network: to whom a peer sends a frame, and who repairs a loss.

A frame goes from its author to the neighbours in its mesh, and from each to those in theirs, but not back to where it
came from; so most peers get it more than once, and every copy costs its bytes. Neighbours outside the mesh are told the
ids of the last frames at the heartbeats, and ask for those that they lack (IHAVE and IWANT). The numbers are those of a
device (`peers.gossip_degrees`).

Three simplifications. A mesh is mended before the next frame rather than at the next heartbeat. A copy for a peer that
has the frame already costs its bytes and no event, because a router drops it unseen. And control messages cost nothing,
as in the traffic that a device reports.

Lots are drawn from a generator of its own: a world in which every neighbour is in the mesh has the same times as one
without a mesh.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from peers.gossip_degrees import DEGREE, DEGREE_HIGH, DEGREE_LOW, TOLD, TOLD_SHARE
from sim.world.simulated_peer import SimulatedPeer

WHOLE: Final = 8
"""A peer with at most so many neighbours has all of them in its mesh. Where both ends of each link draw `DEGREE` of
eight neighbours, one link of sixteen is left out, so the bytes of its copies are counted too many."""


class Mesh:
    """The meshes of one world. Each link of a mesh is in those of both ends."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._changed: dict[int, SimulatedPeer] = {}
        """Peers whose connections changed since their mesh was mended."""

    def linked(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        self._changed[one.index], self._changed[other.index] = one, other

    def unlinked(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        one.mesh.pop(other.id, None)
        other.mesh.pop(one.id, None)
        self.linked(one, other)

    def receivers(self, node: SimulatedPeer) -> Iterator[SimulatedPeer]:
        """The neighbours to whom this peer sends a frame, in the order in which they connected."""
        if self._changed:
            self._mend()
        if len(node.mesh) == len(node.links):
            return iter(node.links.values())
        return (other for peer, other in node.links.items() if peer in node.mesh)

    def told(self, node: SimulatedPeer) -> list[SimulatedPeer]:
        """Neighbours outside the mesh that are told ids at this heartbeat."""
        outside = self._outside(node)
        return self._drawn(outside, max(TOLD, int(len(outside) * TOLD_SHARE)))

    def _mend(self) -> None:
        changed, self._changed = self._changed, {}
        for _, node in sorted(changed.items()):
            if len(node.links) <= WHOLE:
                for other in self._outside(node):
                    node.mesh[other.id], other.mesh[node.id] = other, node
                    self._prune(other)
            elif len(node.mesh) < DEGREE_LOW:
                for other in self._drawn(self._outside(node), DEGREE - len(node.mesh)):
                    node.mesh[other.id], other.mesh[node.id] = other, node
                    self._prune(other)
            self._prune(node)

    def _prune(self, node: SimulatedPeer) -> None:
        if len(node.mesh) > DEGREE_HIGH:
            for other in self._drawn(list(node.mesh.values()), len(node.mesh) - DEGREE):
                del node.mesh[other.id], other.mesh[node.id]
                self._changed[other.index] = other

    def _outside(self, node: SimulatedPeer) -> list[SimulatedPeer]:
        return [other for peer, other in node.links.items() if peer not in node.mesh]

    def _drawn(self, peers: list[SimulatedPeer], count: int) -> list[SimulatedPeer]:
        return peers if count >= len(peers) else self._rng.sample(peers, count)
