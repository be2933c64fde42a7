"""The memory that this machine has and has free, by the kernel and by the limits of a container."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_GROUP: Final = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that a new program may take, by the kernel and by the limits of the container that this runs in."""
    free: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return None
    try:
        free += free_in_group(_GROUP)
    except (OSError, ValueError):
        """No such limits here."""
    return min(free, default=None)


def whole_memory() -> int | None:
    """Bytes of all memory that a program could ever take here, with swap; None where this system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        whole = [
            1024 * int(line.split()[1]) for line in lines if line.startswith(("MemTotal:", "SwapTotal:"))
        ]
    except (OSError, ValueError):
        return None
    try:
        limit = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
    except OSError:
        limit = "max"
    return min(sum(whole), int(limit)) if limit.isdigit() else sum(whole)


def free_in_group(group: Path) -> list[int]:
    """Bytes that a control group leaves, none where it sets no limit. Files that the kernel keeps for later count as
    used there, and go as soon as a program wants their place. Raises `OSError` and `ValueError` where it is none."""
    limit = (group / "memory.max").read_text(encoding="ascii").strip()
    if limit == "max":
        return []
    used = int((group / "memory.current").read_text(encoding="ascii"))
    lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return [max(0, int(limit) - used + cached)]
