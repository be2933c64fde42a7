"""An answer for people: one page of a terminal, 60 columns or more, headings and short paragraphs.

First the weight and how it came about, here; then how it was before and would be otherwise (`otherwise.py`).
"""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trust.inspection.explain import words
from trust.inspection.explain.document import Explanation, RowShare
from trust.inspection.explain.otherwise import check, movement, strategies, without
from trust.inspection.explain.sheet import ExplainPage, error_text, loss_text, number_text, table
from trust.rows.strategies import STRATEGIES

_BAR = 20
_MOST_NEIGHBOURS = 12


def print_page(told: Explanation, console: Console) -> None:
    """Colour only where the console has it."""
    sheet = ExplainPage(told, console)
    _title(sheet)
    _weights(sheet)
    if told.took_part:
        _evidence(sheet)
        _making(sheet)
        _guard(sheet)
    _refusals(sheet)
    movement(sheet)
    if told.took_part:
        strategies(sheet)
        without(sheet)
        check(sheet)


def _title(sheet: ExplainPage) -> None:
    told = sheet.told
    gives = words.percent(told.weight) if told.weight else "nothing"
    if sheet.own:
        sheet.title(f"Why {sheet.me} keeps {gives} of itself in round {told.round}")
    else:
        sheet.title(f"Why {sheet.me} gives {sheet.them} {gives} in round {told.round}")


def _weights(sheet: ExplainPage) -> None:
    told = sheet.told
    if not told.took_part:
        last = f"; the last time before was round {told.last_met}" if told.last_met is not None else ""
        sheet.say(
            f"{sheet.them} did not take part in round {told.round}{last}. When {sheet.me} began to choose, nothing of "
            f"it was here, or it was too old, not among the partners drawn, or banned."
        )
    elif told.rank is not None and told.weight:
        count = len(told.row) - 1
        place = "the only neighbour" if count == 1 else f"{words.ordinal(told.rank)} of {count} neighbours"
        sheet.say(f"{sheet.them} is {place} by weight.")
    bars = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for justify in ("left", "right", "left"):
        bars.add_column(justify=justify, no_wrap=True)
    top = max((one.weight for one in told.row if 0 < one.weight < math.inf), default=1.0)
    shown = _shown(sheet)
    for one in shown:
        length = round(_BAR * one.weight / top) if 0 < one.weight < math.inf else 0
        bar = Text("█" * length, style="green")
        asked = one.peer == told.neighbour.peer
        name = Text(f"{'>' if asked else ' '} {sheet.names[one.peer]}", style="bold" if asked else "")
        bars.add_row(name, words.percent(one.weight), bar)
    sheet.put(bars)
    if len(shown) < len(told.row):
        sheet.say(f"and {len(told.row) - len(shown)} more neighbours with less")


def _shown(sheet: ExplainPage) -> list[RowShare]:
    """The peer itself, the neighbours of most weight, and the one asked for."""
    own, *others = sheet.told.row
    most = sorted(others, key=lambda one: -one.weight)[:_MOST_NEIGHBOURS]
    asked = [one for one in others if one.peer == sheet.told.neighbour.peer and one not in most]
    return [own, *most, *asked]


def _evidence(sheet: ExplainPage) -> None:
    for one in sheet.told.evidence:
        sheet.head(f"Evidence: {one.kind}")
        sheet.say(words.of_kind(one.kind, sheet.me))
        error = f" {error_text(one.error)}" if one.error else ""
        place = "" if one.of == 1 else f", {words.place(one.rank, one.of)}"
        sheet.say(f"{sheet.them}: {number_text(one.distance)}{error}{place}")
        if one.of > 1:
            nearest, middle, farthest = map(number_text, (one.nearest, one.median, one.farthest))
            sheet.say(f"nearest {nearest}, median {middle}, farthest {farthest}")
        if one.own:
            sheet.say(f"{sheet.me} itself: {number_text(one.own)}")


def _making(sheet: ExplainPage) -> None:
    told = sheet.told
    sheet.head("From evidence to weight")
    sheet.say(words.of_rows(told, sheet.me))
    if len(told.tried) > 1:
        sheet.say(words.of_trying(sheet.me))
    if told.tried:
        _tried(sheet)
    if told.age is not None:
        sheet.say(words.of_age(told.age, sheet.them))
    elif sheet.own and told.strategy and STRATEGIES[told.strategy].decays:
        sheet.say(f"What age takes from neighbours goes to {sheet.me} itself.")
    if told.text is not None:
        sheet.say(words.of_text(told.text, sheet.them))


def _tried(sheet: ExplainPage) -> None:
    told = sheet.told
    rows = table("temperature", f"{sheet.them} gets", "trust loss")
    for one in told.tried:
        temperature = "none" if one.temperature is None else f"{one.temperature:g}"
        weight = "?" if one.weight is None else words.percent(one.weight)
        mark = "> " if one.chosen else ""
        rows.add_row(
            mark + temperature, weight, loss_text(one.trust_loss), style="bold" if one.chosen else ""
        )
    rows.add_row("keep everything", words.percent(float(sheet.own)), loss_text(told.trust_alone))
    sheet.put(rows)


def _guard(sheet: ExplainPage) -> None:
    if not sheet.told.absorbed:
        sheet.head("Guard")
        sheet.say(words.of_guard(sheet.told, sheet.me))


def _refusals(sheet: ExplainPage) -> None:
    told = sheet.told
    if sheet.own or not told.refusals_in_all:
        return
    sheet.head(f"Refused of {sheet.them}")
    for one in told.refusals:
        sheet.say(f"round {one.round}: {one.field}: {one.why}")
    elsewhere = told.refusals_in_all - len(told.refusals)
    if elsewhere:
        more = " more" if told.refusals else ""
        sheet.say(f"{elsewhere}{more} in other rounds (of one field, one an hour is recorded)")
