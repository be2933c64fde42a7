"""Sections of the page of `trust explain` about trials: what a neighbour did by itself, who was left out, and how the
peer stands against training alone.
"""

from __future__ import annotations

import math

from trust.inspection.explain import trial_words
from trust.inspection.explain.page_layout import ExplainPage, change_text, error_text, table
from trust.record.history import LeftOut, PeerName


def trials(page: ExplainPage) -> None:
    """Write what the neighbour did by itself; on the page of a peer's own weight, all that were left out."""
    if page.own:
        _left_out(page)
    elif page.answer.trial is not None:
        _trial(page)


def course(page: ExplainPage) -> None:
    """Write the section on training alone; nothing where that was not estimated."""
    if page.answer.course is not None:
        page.head("Against training alone")
        page.say(trial_words.of_course(page.answer.course, page.me))


def discarded(page: ExplainPage) -> None:
    """Write by how much the merge differs from the row's exact mixture; nothing where nothing was merged."""
    lost = page.answer.discarded
    if page.answer.guard in ("taken", "shrunk") and not page.answer.absorbed and math.isfinite(lost):
        page.say(trial_words.of_discarded(lost))


def _trial(page: ExplainPage) -> None:
    trial = page.answer.trial
    assert trial is not None, "there is no section without a trial"
    page.head("Tried by itself")
    if trial.left is not None:
        page.say(_why(page, trial.left, page.answer.neighbour.peer, trial.twin_of))
    if trial.left not in ("paused", "own", "twin"):
        page.say(trial_words.of_gain(trial, page.me, page.them))
        page.say(trial_words.of_binding(trial.mismatch, page.them))
    for shared in page.answer.shared:
        if shared.stands == page.answer.neighbour.peer:
            others = ", ".join(_name(page, peer) for peer in shared.others)
            page.say(f"{page.them} stands also for {others}, nearly identical to it: they share its weight.")
    page.say(trial_words.of_standing(trial, page.them))


def _left_out(page: ExplainPage) -> None:
    left_out = page.answer.left_out
    if not left_out:
        return
    page.head("Left out")
    rows = table("neighbour", "why", "gain")
    for one in left_out:
        gain = "" if one.gain is None else f"{change_text(one.gain)} {error_text(one.error)}"
        rows.add_row(_name(page, one.peer), one.left, gain)
    page.put(rows)
    for one in left_out:
        page.say(_why(page, one.left, one.peer, one.twin_of))


def _why(page: ExplainPage, left: LeftOut, peer: PeerName, twin: PeerName | None) -> str:
    return trial_words.of_left_out(left, page.me, _name(page, peer), _name(page, twin or ""))


def _name(page: ExplainPage, peer: PeerName) -> str:
    """The short name of a peer; its id where the round does not know it."""
    return page.names.get(peer, peer or "another neighbour")
