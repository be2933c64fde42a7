"""The simulated disk: two generations of the state and a list of announced rounds, as `peers.home.store` keeps them."""

from __future__ import annotations

from peers.core.events import NotStored, Stored
from peers.core.saved import Saved, recovered
from sim.world.simulated_peer import SimulatedPeer


def write(node: SimulatedPeer, saved: Saved) -> Stored | NotStored:
    """Save a generation in place of the one before the last, and return what the peer is told about it."""
    if node.disk_full:
        return NotStored(generation=saved.generation, why="no space left on the disk")
    if node.disk is None or node.disk.generation != saved.generation:
        node.disk_before = node.disk
    node.disk = saved
    if saved.stage == "published":
        node.announced_round = max(node.announced_round, saved.round)
    return Stored(generation=saved.generation)


def damage(node: SimulatedPeer) -> None:
    """Spoil the newest generation of a peer that does not run. It will start from the one before, if there is one."""
    if node.disk_before is not None:
        node.disk = recovered(node.disk_before, published_round=node.announced_round)
        node.disk_before = None
