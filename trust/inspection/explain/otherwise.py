"""The second half of the page: the weight in other rounds, by other strategies, and what would be without it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trust.inspection.explain import words
from trust.inspection.explain.document import StrategyProposal, WeightChangeShown
from trust.inspection.explain.sheet import ExplainPage, change_text, error_text, loss_text, table

_SPARKS = "▁▂▃▄▅▆▇█"
_MOST_SPARKS = 40
_FORMS = {"paper-text": "paper", "paper-code": "paper's code"}


def movement(sheet: ExplainPage) -> None:
    history = sheet.told.history
    known = [
        (one.weight, one.round) for one in history if one.weight is not None and math.isfinite(one.weight)
    ]
    if len(history) < 2 or not known:
        return
    sheet.head("Over the rounds")
    shown = history[-_MOST_SPARKS:]
    sheet.say(f"{_sparks(shown)}  round {shown[0].round} to {shown[-1].round}")
    for one, other in (
        (("first", known[0]), ("last", known[-1])),
        (("least", min(known)), ("most", max(known))),
    ):
        sheet.say(
            ", ".join(f"{name} {words.percent(weight)} in round {at}" for name, (weight, at) in (one, other))
        )
    absent = sum(one.weight is None for one in history)
    if absent:
        sheet.say(f"{sheet.them} took no part in {absent} of {len(history)} rounds.")


def strategies(sheet: ExplainPage) -> None:
    made = sheet.told.strategies
    known = [one for one in made if one.lowest is not None]
    if not known:
        return
    sheet.head("By each strategy, before the guard")
    measured = any(one.trust_loss is not None for one in known)
    rows = table("strategy", f"{sheet.them} gets", *(["trust loss"] if measured else []))
    for one in known:
        loss = [] if not measured else ["" if one.trust_loss is None else loss_text(one.trust_loss)]
        mark = "> " if one.in_use else ""
        rows.add_row(mark + _named(one), _range(one), *loss, style="bold" if one.in_use else "")
    sheet.put(rows)
    if any(one.weight is None for one in known):
        sheet.say('"..": depends on the temperature, and which of them does best was not measured')
    whys: dict[str, list[str]] = {}
    for one in made:
        if one.lowest is None:
            whys.setdefault(one.why, []).append(_named(one))
    for why, names in whys.items():
        sheet.say(f"{', '.join(names)}: {why}", style="dim")


def without(sheet: ExplainPage) -> None:
    if sheet.own:
        return
    left = sheet.told.without
    sheet.head(f"Without {sheet.them}")
    if left.why:
        sheet.say(
            f"What leaving {sheet.them} out would do to {sheet.me}'s trust loss is unknown: {left.why}."
        )
        return
    sheet.say(f"{sheet.me}'s trust loss, measured just now:")
    rows = table("", "loss", "change")
    rows.add_row("the row as it was used", loss_text(left.as_used), "")
    for name, loss, error in (
        (f"its weight kept by {sheet.me}", left.kept_at_home, left.kept_at_home_error),
        ("its weight to the others", left.spread, left.spread_error),
    ):
        change = math.nan if loss is None or left.as_used is None else loss - left.as_used
        rows.add_row(name, loss_text(loss), f"{change_text(change)} {error_text(error)}")
    sheet.put(rows)
    sheet.say(words.of_leaving(left, sheet.them, sheet.told.weight))


def check(sheet: ExplainPage) -> None:
    """Whether the records alone lead to this weight again."""
    found = sheet.told.check
    sheet.head("Check")
    if found.agrees:
        sheet.say("Computed again from the records, the weight comes out the same.")
    elif found.why:
        sheet.say(f"The weight could not be computed again: {found.why}.")
    else:
        sheet.say(
            f"Computed again from the records, the weight is {found.weight!r}, but {sheet.told.weight!r} was recorded: "
            f"another version made this row, or somebody changed the records.",
            style="bold red",
        )
    if sheet.told.settings is None and sheet.told.strategies:
        sheet.say("What is said here of age and of strategies assumes the default settings.")


def _named(one: StrategyProposal) -> str:
    return one.strategy if one.form == "ours" else f"{one.strategy} ({_FORMS[one.form]})"


def _range(one: StrategyProposal) -> str:
    if one.weight is not None:
        return words.percent(one.weight)
    assert one.lowest is not None, "asked of those that are known"
    assert one.highest is not None, "asked of those that are known"
    return f"{100 * one.lowest:.1f} .. {100 * one.highest:.1f} %"


def _sparks(history: Sequence[WeightChangeShown]) -> str:
    """Heights from 0 to the most; a dot where the neighbour took no part."""
    top = max((one.weight for one in history if one.weight and 0 < one.weight < math.inf), default=1.0)
    return "".join(_spark(one.weight, top) for one in history)


def _spark(weight: float | None, top: float) -> str:
    if weight is None or not math.isfinite(weight):
        return "·"
    return _SPARKS[round((len(_SPARKS) - 1) * max(weight, 0.0) / top)]
