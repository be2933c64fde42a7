"""What somebody learned on a base, wherever it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gossipllm.model.adapter.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """What goes beside the base: the saved state of a home, or, where there is none, a folder in PEFT's format."""

    place: Path
    snapshot: Snapshot | None

    @property
    def name(self) -> str:
        return self.place.resolve().name
