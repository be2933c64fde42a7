"""Remembering: what the saved state keeps of earlier states, after local steps and at the end of a round.

Two states are kept beside the present one. The last good state is for a peer that merges have harmed
(`peers.core.course`), so it is one after local steps; the best state is for one that has learned what it can
(`peers.core.plateau`), and may be one after a merge, or the average of states after local steps. Each is None where it
is the present state, and each costs a snapshot on the disk only where it is not.
"""

from __future__ import annotations

import msgspec

from gossipllm.work import Merged, Trained
from peers.core.config import CoreConfig
from peers.core.saved import Saved
from trust.record.history import Guard
from wire.digest import Content


def after_steps(config: CoreConfig, saved: Saved, trained: Trained) -> Saved:
    """`saved` with its memory brought up to local steps; its snapshot is still the one before them. A round without
    steps changes nothing."""
    if not trained.steps:
        return saved
    loss, before = trained.trust_loss, saved.snapshot
    good, best, average = saved.good, saved.best, trained.average
    if config.defence.patience:
        good = None if saved.course.improves(loss) else (saved.good or before)
    plateau = saved.plateau
    if config.settles:
        best = None if plateau.improves(loss) else (saved.best or before)
        if average is None:
            plateau = plateau.stepped(loss, saved.round)
        else:
            plateau = plateau.stepped(loss, saved.round, average=average.trust_loss, error=average.error)
            if plateau.averaged and plateau.least_round == saved.round:
                best = average.snapshot
    return msgspec.structs.replace(
        saved,
        course=saved.course.stepped(loss),
        good=good if config.defence.patience else None,
        plateau=plateau,
        best=best if config.settles else None,
    )


def after_end(config: CoreConfig, saved: Saved, merged: Merged, guard: Guard) -> Saved:
    """`saved` with its memory brought up to the end of the round; its snapshot is still the one before the merge."""
    loss, took = merged.trust_loss, guard in ("taken", "shrunk")
    course, plateau = saved.course, saved.plateau
    if guard == "returned":
        course = course.returned(loss)
    elif guard == "recalled":
        course = course.recalled(loss)
    elif took or _stepped(saved):
        course = course.ended(loss, merged=took)
    if config.settles:
        plateau = plateau.ended(loss, saved.round, test_before=merged.test_alone, test=merged.test_merged)
    if guard == "recalled":
        plateau = saved.plateau.recalled(config.settle, config.round.rounds, test=merged.test_merged)
    return msgspec.structs.replace(
        saved,
        course=course,
        good=_good(config, saved, guard),
        plateau=plateau,
        best=_best(config, saved, loss, guard),
    )


def _stepped(saved: Saved) -> bool:
    return saved.local is not None and saved.local.steps > 0


def _good(config: CoreConfig, saved: Saved, guard: Guard) -> Content | None:
    if guard == "returned" or not config.defence.patience:
        return None
    return saved.good or (saved.snapshot if guard in ("taken", "shrunk", "recalled") else None)


def _best(config: CoreConfig, saved: Saved, loss: float, guard: Guard) -> Content | None:
    if guard == "recalled" or not config.settles or saved.plateau.improves(loss):
        return None
    return saved.best or (saved.snapshot if guard in ("taken", "shrunk", "returned") else None)
