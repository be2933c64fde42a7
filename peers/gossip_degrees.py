"""The numbers of GossipSub's mesh, which the router of a device and the simulated network share.

Each frame goes to the neighbours in a peer's mesh. The others are told its id at the heartbeats, and ask for what they
missed. Degrees and heartbeat are those of the GossipSub paper (Vyzovitis et al. 2020, arXiv 2007.02754).
"""

from __future__ import annotations

from typing import Final

HEARTBEAT_S: Final = 1.0
"""Seconds between two heartbeats. The library's own value is 120."""
DEGREE: Final = 6
"""Neighbours in a mesh after it was filled or pruned. A net of up to five is a full mesh; in larger ones each message
costs about six copies."""
DEGREE_LOW: Final = 4
"""A mesh below this is filled to `DEGREE`."""
DEGREE_HIGH: Final = 12
"""A mesh above this is pruned to `DEGREE`."""
WINDOW: Final = 3
"""Heartbeats at which the id of a message is told."""
TOLD: Final = 6
"""Least number of neighbours outside the mesh that are told at a heartbeat."""
TOLD_SHARE: Final = 0.25
"""Part of the neighbours outside the mesh that are told, where that is more."""
