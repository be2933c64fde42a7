"""The source of an adapter that is evaluated or chatted with: a peer's home, or a folder in PEFT's format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gossipllm.model.adapter.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """An adapter on disk. `snapshot` is the saved state of the home `place`; None where `place` is a folder in PEFT's
    format."""

    place: Path
    snapshot: Snapshot | None

    @property
    def name(self) -> str:
        return self.place.resolve().name
