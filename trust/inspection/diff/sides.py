"""Finds the runs of each argument of `trust diff`, by method and seed.

A peer's home, a folder of homes or a history is one run without a seed. A simulation keeps its runs in
RESULTS/METHOD/seed-N/; RESULTS, METHOD and seed-N may each be given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trust.errors import UserMistake
from trust.inspection.reading.naming import listed
from trust.record.history import HISTORY_FILE

_SEED = re.compile(r"seed-(\d+)")


@dataclass(frozen=True, slots=True)
class Side:
    """Runs that differ only in their seed. Outside of simulations `method` is empty and the seed None."""

    path: Path
    method: str
    folders: dict[int | None, Path]

    @property
    def results(self) -> Path | None:
        """The results folder of the simulation, None outside of simulations."""
        return next(iter(self.folders.values())).absolute().parent.parent if self.method else None


def paired_sides(first: Path, second: Path) -> tuple[tuple[Side, Side], ...]:
    """The sides to compare: methods of the same name, or the only method of each side whatever its name.

    Raises `UserMistake` where no names match and a side has several methods.
    """
    ours, theirs = _sides(first), _sides(second)
    if len(ours) == len(theirs) == 1:
        return ((next(iter(ours.values())), next(iter(theirs.values()))),)
    common = [name for name in ours if name in theirs]
    if common:
        return tuple((ours[name], theirs[name]) for name in common)
    several, methods = (first, ours) if len(ours) > 1 else (second, theirs)
    raise UserMistake(
        f"the runs do not match: no method of one name in {first} ({_listed(ours)}) and {second} "
        f"({_listed(theirs)}); choose one, such as {several / min(methods)}"
    )


def paired_seeds(first: Side, second: Side) -> tuple[tuple[int | None, int | None], ...]:
    """Pairs of seeds: the common ones, or the only run of each side. Raises `UserMistake` where there are neither."""
    if len(first.folders) == len(second.folders) == 1:
        return (*zip(first.folders, second.folders, strict=True),)
    common = [seed for seed in first.folders if seed in second.folders]
    if not common:
        raise UserMistake(
            f"the runs do not match: no common seed; {first.path} has {_listed(first.folders)}, "
            f"{second.path} has {_listed(second.folders)}"
        )
    return tuple((seed, seed) for seed in common)


def _sides(path: Path) -> dict[str, Side]:
    if not path.exists():
        raise UserMistake(f"{path} does not exist; give a run, or the results of a simulation")
    run = path.absolute().parent if path.name == HISTORY_FILE else path.absolute()
    found = _SEED.fullmatch(run.name)
    if found and (run / HISTORY_FILE).is_file():
        return {run.parent.name: Side(path, run.parent.name, {int(found[1]): run})}
    if seeds := _seeds(path):
        return {run.name: Side(path, run.name, seeds)}
    methods = {
        folder.name: Side(folder, folder.name, seeds)
        for folder in (sorted(path.iterdir()) if path.is_dir() else [])
        if (seeds := _seeds(folder))
    }
    return methods or {"": Side(path, "", {None: path})}


def _seeds(folder: Path) -> dict[int | None, Path]:
    found = {
        int(match[1]): file.parent
        for file in folder.glob(f"seed-*/{HISTORY_FILE}")
        if (match := _SEED.fullmatch(file.parent.name))
    }
    return {seed: found[seed] for seed in sorted(found)}


def _listed(items: dict[str, Side] | dict[int | None, Path]) -> str:
    return listed([str(item) for item in items if item not in ("", None)], 12) or "none"
