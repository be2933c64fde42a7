"""Joules that processors count themselves: RAPL, through Linux's power capping files.

    /sys/class/powercap/intel-rapl:0/            name "package-0": the cores, their caches and what is on the chip
    /sys/class/powercap/intel-rapl:0/intel-rapl:0:2/  name "dram": memory, which no package includes
    /sys/class/powercap/intel-rapl:1/            name "psys": the whole platform, packages included
    /sys/class/powercap/intel-rapl-mmio:0/       the same package again, by another register

`energy_uj` counts microjoules and wraps around after `max_energy_range_uj`. Each package and each dram zone is counted
once, and psys only where there is no package. AMD's processors appear under the same names. Since 2020 only root may
read `energy_uj` (CVE-2020-8694). The counters are of the whole machine, whoever made it work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gossipllm.device.measured import NotMeasuredError

POWERCAP: Final = Path("/sys/class/powercap")
_TWICE: Final = "-mmio"
"""In the name of zones that repeat another one."""


@dataclass(slots=True)
class _Zone:
    folder: Path
    range_uj: int
    last_uj: int
    counted_uj: int = 0

    def look(self) -> None:
        now_uj = _number(self.folder / "energy_uj")
        # At most one wrap between two looks: a range lasts for minutes even at hundreds of watts.
        self.counted_uj += (now_uj - self.last_uj) % (self.range_uj + 1)
        self.last_uj = now_uj


class Rapl:
    """The energy of all packages since this was made. Raises `NotMeasuredError` where nothing can be read."""

    def __init__(self, root: Path = POWERCAP) -> None:
        named = dict(_zones(root))
        if not named:
            raise NotMeasuredError(f"no RAPL zones in {root}")
        packages = [folder for name, folder in named.items() if name.startswith("package")]
        whole = packages or [folder for name, folder in named.items() if name.startswith("psys")]
        if not whole:
            raise NotMeasuredError(f"no RAPL zone of a whole processor in {root}")
        memory = [inner for folder in packages for name, inner in _inner(folder) if name == "dram"]
        self._zones = [_opened(folder) for folder in (*whole, *memory)]
        kind = "package" if packages else "psys"
        self.method: Final = f"rapl {kind} and dram" if memory else f"rapl {kind}"

    def joules(self) -> float:
        """Joules so far. Must be called more often than a counter wraps around, about once a minute. Raises
        `NotMeasuredError` where a zone can no longer be read."""
        for zone in self._zones:
            zone.look()
        return sum(zone.counted_uj for zone in self._zones) / 1e6


def _zones(root: Path) -> Iterator[tuple[str, Path]]:
    """The names of outermost zones with their folders; of equal names the last one counts, which repeats none."""
    folders = [one for one in _listed(root) if one.name.count(":") == 1 and "rapl" in one.name]
    for folder in sorted(folders, key=lambda one: (_TWICE not in one.name, one.name)):
        if name := _name(folder):
            yield name, folder


def _inner(folder: Path) -> Iterator[tuple[str, Path]]:
    for inner in sorted(one for one in _listed(folder) if one.name.startswith(f"{folder.name}:")):
        yield _name(inner), inner


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""


def _opened(folder: Path) -> _Zone:
    return _Zone(folder, _number(folder / "max_energy_range_uj"), _number(folder / "energy_uj"))


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except PermissionError:
        raise NotMeasuredError(f"{file} may be read by root alone") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "holds no number"
        raise NotMeasuredError(f"{file}: {why}") from None
