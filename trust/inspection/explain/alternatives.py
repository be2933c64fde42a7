"""Second half of the page of `trust explain`: the weight in other rounds and by other strategies, the loss without the
neighbour, and the check against the records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trust.counting import counted
from trust.inspection.explain import words
from trust.inspection.explain.document import StrategyProposal, WeightChangeShown
from trust.inspection.explain.page_layout import ExplainPage, change_text, error_text, loss_text, table

_SPARKS = "▁▂▃▄▅▆▇█"
_MOST_SPARKS = 40
_FORMS = {"paper-text": "paper", "paper-code": "paper's code"}


def movement(page: ExplainPage) -> None:
    """Write the section on the weight over the rounds; nothing for a single round."""
    history = page.answer.history
    known = [
        (change.weight, change.round)
        for change in history
        if change.weight is not None and math.isfinite(change.weight)
    ]
    if len(history) < 2 or not known:
        return
    page.head("Over the rounds")
    shown = history[-_MOST_SPARKS:]
    page.say(f"{_sparks(shown)}  round {shown[0].round} to {shown[-1].round}")
    for named in (
        (("first", known[0]), ("last", known[-1])),
        (("least", min(known)), ("most", max(known))),
    ):
        page.say(
            ", ".join(f"{name} {words.percent(weight)} in round {number}" for name, (weight, number) in named)
        )
    absent = sum(change.weight is None for change in history)
    if absent:
        page.say(f"{page.them} took no part in {absent} of {counted(len(history), 'round')}.")


def strategies(page: ExplainPage) -> None:
    """Write the section on the weight that each strategy would give."""
    proposals = page.answer.strategies
    known = [proposal for proposal in proposals if proposal.lowest is not None]
    if not known:
        return
    page.head("By each strategy, before the guard")
    measured = any(proposal.trust_loss is not None for proposal in known)
    rows = table("strategy", f"{page.them} gets", *(["trust loss"] if measured else []))
    for proposal in known:
        loss = [] if not measured else ["" if proposal.trust_loss is None else loss_text(proposal.trust_loss)]
        mark = "> " if proposal.in_use else ""
        weight = _weight_text(proposal.weight, proposal.lowest, proposal.highest)
        rows.add_row(mark + _strategy_name(proposal), weight, *loss, style="bold" if proposal.in_use else "")
    page.put(rows)
    if any(proposal.weight is None for proposal in known):
        page.say('"..": depends on the temperature, and which of them does best was not measured')
    whys: dict[str, list[str]] = {}
    for proposal in proposals:
        if proposal.lowest is None:
            whys.setdefault(proposal.why, []).append(_strategy_name(proposal))
    for why, names in whys.items():
        page.say(f"{', '.join(names)}: {why}", style="dim")


def without(page: ExplainPage) -> None:
    """Write the section on the trust loss without the neighbour; nothing for the peer's own weight."""
    if page.own:
        return
    left = page.answer.without
    page.head(f"Without {page.them}")
    if left.why:
        page.say(f"What leaving {page.them} out would do to {page.me}'s trust loss is unknown: {left.why}.")
        return
    page.say(f"{page.me}'s trust loss, measured just now:")
    rows = table("", "loss", "change")
    rows.add_row("the row as it was used", loss_text(left.as_used), "")
    for name, loss, error in (
        (f"its weight kept by {page.me}", left.kept_at_home, left.kept_at_home_error),
        ("its weight to the others", left.spread, left.spread_error),
    ):
        change = math.nan if loss is None or left.as_used is None else loss - left.as_used
        rows.add_row(name, loss_text(loss), f"{change_text(change)} {error_text(error)}")
    page.put(rows)
    page.say(words.of_leaving(left, page.them, page.answer.weight))


def check(page: ExplainPage) -> None:
    """Write the section on whether the weight can be computed again from the records alone."""
    check = page.answer.check
    page.head("Check")
    if check.agrees:
        page.say("Computed again from the records, the weight comes out the same.")
    elif check.why:
        page.say(f"The weight could not be computed again: {check.why}.")
    else:
        page.say(
            f"Computed again from the records, the weight is {check.weight!r}, but {page.answer.weight!r} was "
            f"recorded: another version made this row, or the records were changed.",
            style="bold red",
        )
    if page.answer.settings is None and page.answer.strategies:
        page.say("The sections on age and on strategies assume the default settings.")


def _strategy_name(proposal: StrategyProposal) -> str:
    return proposal.strategy if proposal.form == "ours" else f"{proposal.strategy} ({_FORMS[proposal.form]})"


def _weight_text(weight: float | None, lowest: float | None, highest: float | None) -> str:
    """The weight, or else the range in which it lies; `?` where neither is known."""
    if weight is not None:
        return words.percent(weight)
    if lowest is None or highest is None:
        return "?"
    return f"{100 * lowest:.1f} .. {100 * highest:.1f} %"


def _sparks(history: Sequence[WeightChangeShown]) -> str:
    """A chart one character high, from 0 to the greatest weight; a dot where the neighbour took no part."""
    top = max(
        (change.weight for change in history if change.weight and 0 < change.weight < math.inf), default=1.0
    )
    return "".join(_spark(change.weight, top) for change in history)


def _spark(weight: float | None, top: float) -> str:
    if weight is None or not math.isfinite(weight):
        return "·"
    return _SPARKS[round((len(_SPARKS) - 1) * max(weight, 0.0) / top)]
