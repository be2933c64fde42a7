"""Sentences of the page of `trust explain`, for readers who have not read the papers.

`me` is the short name of the peer, `them` that of the neighbour.
"""

from __future__ import annotations

import math
from typing import Final

from trust.inspection.explain.document import Explanation, LeaveOneOut, TextClaim, WordAge
from trust.rows.evidence_kinds import EVIDENCE, Evidence
from trust.rows.strategies import STRATEGIES

SURE: Final = 2.0
"""Standard errors that a difference must exceed to count as more than chance. The usual 95 %."""

_NOTHING: Final = 10_000.0
"""Factor beyond which a smaller weight is called next to nothing."""
_LARGEST_LOSS: Final = 50.0
"""Nats from which a loss is shown as it is: its perplexity says nothing."""
_SAME: Final = 1e-9
"""Largest difference of two shares of the text that count as equal."""


def of_kind(kind: Evidence, me: str, *, by_bytes: bool = False) -> str:
    """Meaning of a distance of this kind of evidence."""
    if by_bytes:
        return (
            "Both predicted the next bytes, and the words, of the same public text, where both of their tokenizers "
            "have a boundary. The distance is 0 for equal predictions and 1 for opposite ones. Most of it is that of "
            "the two base models, so it is only compared with those of the same other base."
        )
    return EVIDENCE[kind].about.format(me=me)


def of_rows(answer: Explanation, me: str) -> str:
    """How the strategy turns evidence into weights."""
    if answer.absorbed:
        return (
            f"Peers of this network push parts of themselves to each other, and {me} took in {answer.absorbed} of "
            f"them. There are no weights: what is mixed is the mean over all."
        )
    if not answer.strategy:
        return "How the row was made was not recorded."
    if answer.form != "ours":
        return (
            "Weights are a softmax of minus the distances, as published; there is no temperature to choose."
        )
    strategy = STRATEGIES[answer.strategy]
    steepness = _steepness(answer.temperature) if strategy.tries_temperatures else ""
    return strategy.explanation.format(me=me) + steepness


def of_trying(me: str) -> str:
    """How the temperature is chosen."""
    return (
        f"{me} tried each temperature on its trust text, which it never trains on, and chose the merge with the least "
        f"loss (nats per token)."
    )


def of_age(age: WordAge, them: str) -> str:
    """What the age of the neighbour's announcement does to its weight."""
    if age.rounds == 0:
        return f"{them}'s word was fresh, so age took nothing."
    took = "which takes nothing" if age.factor == 1 else f"which multiplies its weight by {age.factor:.2f}"
    if age.factor == 0:
        took = "too old to count"
    return f"{them}'s word was {age.rounds} round{'s' if age.rounds > 1 else ''} old, {took}."


def of_text(text: TextClaim, them: str) -> str:
    counts = ""
    if text.share < text.claimed_share:
        counts = (
            f", but counts as {percent(text.share)}: nobody counts more than {text.cap:g} times the median"
        )
    elif text.share > text.claimed_share + _SAME:
        counts = f", and counts as {percent(text.share)}, because others count for less than they claim"
    power = "" if text.power == 1 else f", to the power {text.power:g}"
    return (
        f"{them} says that it trained on {text.tokens:,} tokens, in {text.samples:,} samples. That is "
        f"{percent(text.claimed_share)} of the text of all here{counts}. Weights are multiplied by that share{power}."
    )


def of_relation(answer: Explanation, me: str, them: str) -> str:
    """What a neighbour of another base was to this peer."""
    base = (
        f"{them} holds another base, tokenizer or adapter layout, so its update cannot be merged with {me}'s."
    )
    if answer.relation == "apart":
        return f"{base} They had nothing to compare either."
    if answer.relation != "distils":
        return f"{base} Only their predictions were compared."
    if not answer.teaches:
        return f"{base} {me} distils predictions, and took none of {them}'s in this round."
    return f"{base} {me} distilled its predictions instead, at {percent(answer.teaches)} of the lessons' row."


def of_guard(answer: Explanation, me: str) -> str:
    """What the guard did with the merge, and why."""
    alone, merged = answer.trust_alone, answer.trust_merged
    match answer.guard:
        case "taken" if answer.guarded:
            return f"The merge lowered {me}'s trust loss from {alone:.4f} to {merged:.4f}, so it was taken."
        case "taken":
            return (
                f"The guard is off, so the merge was taken whatever it did: {me}'s trust loss went from {alone:.4f} to "
                f"{merged:.4f}."
            )
        case "shrunk":
            if answer.halvings is None and answer.check.weight is not None:
                return (
                    f"No merge that was tried was better than keeping everything (trust loss {alone:.4f}). So smaller "
                    f"weights and the best neighbour alone were tried, of which the best gave {merged:.4f}."
                )
            times = {1: "once", 2: "twice", 3: "three times"}.get(answer.halvings or 0, "some times")
            return (
                f"No merge that was tried was better than keeping everything (trust loss {alone:.4f}). So the best one "
                f"was moved halfway toward that, {times}, which gave {merged:.4f}: all weights of neighbours were "
                f"halved as often."
            )
        case "refused" if answer.left_out and len(answer.left_out) == len(answer.row) - 1:
            return "Every neighbour was left out, so nothing was merged."
        case "refused":
            return (
                f"Nothing that was tried was better than keeping everything (trust loss {alone:.4f}), not even at an "
                f"eighth of the weights. So the merge was refused, and every neighbour got nothing."
            )
        case "returned":
            return (
                f"Nothing was merged: for some rounds {me} had been worse off than training alone would have left it, "
                f"so it went back to its last good state (trust loss {merged:.4f}) and trains alone for a while."
            )
        case "recalled":
            return (
                f"Nothing was merged: {me} had gained nothing for some rounds, so it went back to its best state "
                f"(trust loss {merged:.4f}), to go on at a lower rate or to rest there."
            )
        case _:
            return f"Nothing was merged: there was no row but {me} alone."


def of_judging(answer: Explanation) -> str:
    """What the windows said that judge a merge; empty where nothing was judged."""
    if answer.judged is None or not answer.guarded:
        return ""
    what = "The last merge that was tried" if answer.guard == "refused" else "The merge"
    fell = "lowered" if answer.judged > 0 else "raised"
    believed = ""
    if answer.guard in ("taken", "shrunk") and answer.certainty < 1:
        believed = (
            f" Beside what merges gained before, that is {percent(answer.certainty)} certain, and neighbours keep as "
            f"much of their weights."
        )
    return (
        f"{what} {fell} the loss by {abs(answer.judged):.4f} ± {answer.judged_error:.4f} nats per token on the windows "
        f"that judge merges.{believed}"
    )


def of_distilling(answer: Explanation, me: str) -> str:
    """What distilling after the merge did; empty where there was none."""
    done = answer.distilled
    if done is None:
        return ""
    if not done.taught:
        return f"Distilling found nothing that anybody predicts better than {me} on {done.rows} rows of public text."
    learned = (
        f"Then {me} took {done.steps} step{'s' if done.steps > 1 else ''} toward predictions that were better than its "
        f"own on {done.taught} of {done.rows} rows of public text (divergence {done.kl_before:.4f} to "
        f"{done.kl_after:.4f})."
    )
    change = f"by {abs(done.gain):.4f} ± {done.error:.4f} nats"
    if not done.share:
        moved = "lowered" if done.gain > 0 else "raised"
        return (
            f"{learned} The best part of the way {moved} its trust loss {change}, so the steps were undone."
        )
    return f"{learned} It kept {percent(done.share)} of the way, which lowered its trust loss {change}."


def of_asking(answer: Explanation, me: str) -> str:
    """That nobody helps, and for how long nobody is asked; empty where neighbours are asked."""
    if not answer.fruitless or not (answer.asks_in or answer.guard == "alone"):
        return ""
    again = "in the next round"
    if answer.asks_in:
        again = f"after {answer.asks_in} more round{'s' if answer.asks_in > 1 else ''}"
    tried = f"the last {answer.fruitless} rounds" if answer.fruitless > 1 else "the last round"
    return (
        f"Nobody here helps {me}: {tried} that asked brought no whole merge. Alone {me} is at "
        f"{_perplexity(answer.trust_merged)} on its trust text. It asks again {again}, or when somebody new comes."
    )


def _perplexity(loss: float) -> str:
    return f"a perplexity of {math.exp(loss):.4g}" if loss < _LARGEST_LOSS else f"a loss of {loss:.3g}"


def of_leaving(left: LeaveOneOut, them: str, weight: float) -> str:
    """Whether the loss without the neighbour differs by more than chance."""
    if not weight:
        return f"{them} had no weight, so leaving it out changes nothing."
    home = _turns(left.kept_at_home, left.as_used, left.kept_at_home_error)
    spread = _turns(left.spread, left.as_used, left.spread_error)
    if home == spread:
        return f"Without {them}, the loss {home}, either way."
    return (
        f"Without {them}, the loss {home} where its weight stays at home, and {spread} where others get it."
    )


def percent(weight: float) -> str:
    if not math.isfinite(weight):
        return "?"
    return "<0.1 %" if 0 < weight < 0.0005 else f"{100 * weight:.1f} %"


def place(rank: int, of: int) -> str:
    """The rank of a distance in words, such as `2nd nearest of 5`."""
    return f"the nearest of {of}" if rank == 1 else f"{ordinal(rank)} nearest of {of}"


def ordinal(rank: int) -> str:
    if rank % 100 in (11, 12, 13):
        return f"{rank}th"
    return f"{rank}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th') }"


def _turns(loss: float | None, before: float | None, error: float | None) -> str:
    change = math.nan if loss is None or before is None else loss - before
    if not abs(change) > SURE * (error or 0.0):
        return "changes by no more than chance may"
    return "rises" if change > 0 else "falls"


def _steepness(temperature: float | None) -> str:
    """How steeply weights fall: a neighbour farther by one median distance gets exp(-1 / temperature) of the weight."""
    if temperature is None:
        return (
            " The temperature sets how steeply weights fall with the distance: a high one gives all the same."
        )
    if not temperature > 0:
        return " The recorded temperature is not above 0."
    factor = math.exp(min(1 / temperature, 60.0))
    share = f"1/{factor:,.0f} of the weight" if factor >= 10 else f"{100 / factor:.0f} % of the weight"
    if factor > _NOTHING:
        share = "next to nothing"
    return (
        f" The temperature sets how steeply: at {temperature:g}, a neighbour farther by one median distance gets "
        f"{share}."
    )
