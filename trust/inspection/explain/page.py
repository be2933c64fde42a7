"""Prints an `Explanation` in a terminal of 60 columns or more, with headings and short paragraphs.

This file writes the weight and how it came about; `alternatives.py` writes other rounds, strategies and the check.
"""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trust.inspection.explain import trial_page, trial_words, words
from trust.inspection.explain.alternatives import check, movement, strategies, without
from trust.inspection.explain.document import Explanation, RowShare
from trust.inspection.explain.page_layout import ExplainPage, error_text, loss_text, number_text, table
from trust.rows.strategies import STRATEGIES

_BAR = 20
_MOST_NEIGHBOURS = 12


def print_page(answer: Explanation, console: Console) -> None:
    """Print the page of `trust explain`, in colour if the console has it."""
    page = ExplainPage(answer, console)
    _title(page)
    _weights(page)
    if alone := words.of_asking(answer, page.me):
        page.say(alone)
    if answer.took_part:
        trial_page.trials(page)
        _evidence(page)
        _making(page)
        _guard(page)
        trial_page.course(page)
    elif answer.relation is not None:
        _evidence(page)
    _refusals(page)
    movement(page)
    if answer.took_part:
        strategies(page)
        without(page)
        check(page)


def _title(page: ExplainPage) -> None:
    answer = page.answer
    gives = words.percent(answer.weight) if answer.weight else "nothing"
    if page.own:
        page.title(f"Why {page.me} keeps {gives} of itself in round {answer.round}")
    else:
        page.title(f"Why {page.me} gives {page.them} {gives} in round {answer.round}")


def _weights(page: ExplainPage) -> None:
    answer = page.answer
    if answer.blocked is not None:
        why = f" ({answer.blocked})" if answer.blocked else ""
        page.say(f"{page.them} is blocked{why}: nothing of it is taken until gossipllm trust unblock.")
    if answer.relation not in (None, "merges"):
        page.say(words.of_relation(answer, page.me, page.them))
    elif not answer.took_part:
        last = f"; the last time before was round {answer.last_met}" if answer.last_met is not None else ""
        page.say(
            f"{page.them} did not take part in round {answer.round}{last}. When {page.me} chose its neighbours, it had "
            f"no update of {page.them}, or only one that was too old, or {page.them} was not drawn, or was banned."
        )
    elif answer.rank is not None and answer.weight:
        count = len(answer.row) - 1
        place = "the only neighbour" if count == 1 else f"{words.ordinal(answer.rank)} of {count} neighbours"
        page.say(f"{page.them} is {place} by weight.")
    bars = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for justify in ("left", "right", "left"):
        bars.add_column(justify=justify, no_wrap=True)
    top = max((share.weight for share in answer.row if 0 < share.weight < math.inf), default=1.0)
    shown = _shown(page)
    for share in shown:
        length = round(_BAR * share.weight / top) if 0 < share.weight < math.inf else 0
        bar = Text("█" * length, style="green")
        asked = share.peer == answer.neighbour.peer
        name = Text(f"{'>' if asked else ' '} {page.names[share.peer]}", style="bold" if asked else "")
        bars.add_row(name, words.percent(share.weight), bar)
    page.put(bars)
    if len(shown) < len(answer.row):
        page.say(f"and {len(answer.row) - len(shown)} more neighbours with less")


def _shown(page: ExplainPage) -> list[RowShare]:
    """The shares to list: the peer itself, the neighbours with the largest weights, and the explained neighbour."""
    own, *others = page.answer.row
    most = sorted(others, key=lambda share: -share.weight)[:_MOST_NEIGHBOURS]
    asked = [share for share in others if share.peer == page.answer.neighbour.peer and share not in most]
    return [own, *most, *asked]


def _evidence(page: ExplainPage) -> None:
    for evidence in page.answer.evidence:
        page.head(f"Evidence: {evidence.kind}")
        page.say(words.of_kind(evidence.kind, page.me, by_bytes=page.answer.by_bytes))
        error = f" {error_text(evidence.error)}" if evidence.error else ""
        place = "" if evidence.of == 1 else f", {words.place(evidence.rank, evidence.of)}"
        page.say(f"{page.them}: {number_text(evidence.distance)}{error}{place}")
        if evidence.of > 1:
            nearest, middle, farthest = map(
                number_text, (evidence.nearest, evidence.median, evidence.farthest)
            )
            page.say(f"nearest {nearest}, median {middle}, farthest {farthest}")
        if evidence.own:
            page.say(f"{page.me} itself: {number_text(evidence.own)}")


def _making(page: ExplainPage) -> None:
    answer = page.answer
    page.head("From evidence to weight")
    page.say(words.of_rows(answer, page.me))
    if len(answer.tried) > 1:
        page.say(words.of_trying(page.me))
    if answer.tried:
        _tried(page)
    if answer.age is not None:
        page.say(words.of_age(answer.age, page.them))
    elif page.own and answer.strategy and STRATEGIES[answer.strategy].decays:
        page.say(f"The weight that age takes from neighbours goes to {page.me} itself.")
    if answer.text is not None:
        page.say(words.of_text(answer.text, page.them))
    if answer.steps is not None:
        for line in trial_words.of_steps(answer.steps, page.me):
            page.say(line)


def _tried(page: ExplainPage) -> None:
    answer = page.answer
    rows = table("temperature", f"{page.them} gets", "trust loss")
    for candidate in answer.tried:
        temperature = "none" if candidate.temperature is None else f"{candidate.temperature:g}"
        weight = "?" if candidate.weight is None else words.percent(candidate.weight)
        mark = "> " if candidate.chosen else ""
        rows.add_row(
            mark + temperature,
            weight,
            loss_text(candidate.trust_loss),
            style="bold" if candidate.chosen else "",
        )
    rows.add_row("keep everything", words.percent(float(page.own)), loss_text(answer.trust_alone))
    page.put(rows)


def _guard(page: ExplainPage) -> None:
    if not page.answer.absorbed:
        page.head("Guard")
        page.say(words.of_guard(page.answer, page.me))
        if judged := words.of_judging(page.answer):
            page.say(judged)
        if distilled := words.of_distilling(page.answer, page.me):
            page.say(distilled)
        trial_page.discarded(page)


def _refusals(page: ExplainPage) -> None:
    answer = page.answer
    if page.own or not answer.refusals_in_all:
        return
    page.head(f"Refused of {page.them}")
    for refusal in answer.refusals:
        page.say(f"round {refusal.round}: {refusal.field}: {refusal.why}")
    elsewhere = answer.refusals_in_all - len(answer.refusals)
    if elsewhere:
        more = " more" if answer.refusals else ""
        page.say(
            f"{elsewhere}{more} in other rounds (at most one refusal an hour is recorded for each field)"
        )
