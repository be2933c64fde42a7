"""Merge inputs: this peer's adapter and its neighbours' updates, as they were before the last merge.

They are kept for `gossipllm trust explain`. Unlike the saved state (`saved.py`) they may be lost at any time: then
`explain` cannot measure the merge again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from peers.core.events import PeerId
from wire.digest import Content

KEPT_VERSION: Final = 1


class MergeInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A neighbour: its update of `its_round`, and its weight in the row that was used, which may be 0."""

    peer: PeerId
    name: str
    its_round: int
    weight: float
    update: Content
    evidence: Content | None


class MergeInputs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The participants of `round`, sorted by author. `snapshot` is this peer's state after its local steps, before the
    merge."""

    version: int = KEPT_VERSION
    peer: PeerId
    round: int
    snapshot: Content
    self_weight: float
    members: tuple[MergeInput, ...]
    text: Content | None = None
