"""A tree of power capping files as Linux shows it, with counters that a test moves."""

from __future__ import annotations

from pathlib import Path


class Powercap:
    """Zones below `root`. A zone's path is its folder's name, or "outer/inner"."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def zone(self, path: str, name: str, *, energy_uj: int = 0, range_uj: int = 262_143_328_850) -> None:
        folder = self.root / path
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.set(path, energy_uj)

    def set(self, path: str, energy_uj: int) -> None:
        (self.root / path / "energy_uj").write_text(f"{energy_uj}\n")
