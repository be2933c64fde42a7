"""What the last row was over, kept so that it can be measured again: this peer's adapter and its neighbours' updates.

No crash may lose the state of a peer (`saved.py`); this may be lost at any time, and costs an answer to "why".
"""

from __future__ import annotations

from typing import Final

import msgspec

from peers.core.events import PeerId
from wire.digest import Content

KEPT_VERSION: Final = 1


class MergeInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A neighbour: what it announced in `its_round`, and its entry of the row that was used, which may be 0."""

    peer: PeerId
    name: str
    its_round: int
    weight: float
    update: Content
    evidence: Content | None


class MergeInputs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who took part in the row of `round`, by author. `snapshot` is this peer's state after its local steps, before
    the merge."""

    version: int = KEPT_VERSION
    peer: PeerId
    round: int
    snapshot: Content
    self_weight: float
    members: tuple[MergeInput, ...]
