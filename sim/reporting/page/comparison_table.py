"""The table that compares methods, as HTML: the columns that `gossipllm sim` prints, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from sim.comparison.spread import Spread
from sim.comparison.summary import Comparison, DeviceSummary, MethodSummary

_NONE: Final = '<td class="none">&ndash;</td>'

_Column = tuple[str, str, Callable[[MethodSummary], str]]

_COLUMNS: Final[tuple[_Column, ...]] = (
    ("before", "perplexity on own test text before the last merge, mean over peers", lambda row: _mean(row.before, 2)),
    ("after", "the same after the last merge; ± is the standard deviation over seeds", lambda row: _spread(row.after)),
    ("vs local", "difference from training alone on the same seed, below 0 is better",
     lambda row: _difference(row.against.get("local"))),
    ("vs fedavg", "from plain averaging", lambda row: _difference(row.against.get("fedavg"))),
    ("vs theory", "from rows that know who reads what", lambda row: _difference(row.against.get("theoretical"))),
    ("worst", "the peer that fares worst against training alone", lambda row: _difference(row.worst)),
    ("KL", "divergence of the rows from the theoretical ones, in nats", lambda row: _mean(row.divergence, 2)),
    ("rank", "Spearman's correlation of the two, own weights left out", lambda row: _mean(row.correlation, 2)),
    ("same", "weight on peers with text of the same category", lambda row: _mean(row.same, 2)),
    ("peers", "effective collaborators: 1 / sum of squared weights, itself counted",
     lambda row: _mean(row.effective, 1)),
    ("kB", "sent for a peer and a round", lambda row: _plain(row.sent_bytes / 1e3)),
    ("forward", "thousands of tokens through the model, for a peer and a round",
     lambda row: _plain(row.forward_tokens / 1e3)),
    ("backward", "the same, back through it", lambda row: _plain(row.backward_tokens / 1e3)),
)  # fmt: skip


def methods_table(shown: Comparison) -> str:
    """The section of the table with its heading. Names of methods are buttons; the script shows that method's run."""
    seeds = f"seed{'' if len(shown.seeds) == 1 else 's'} {', '.join(map(str, shown.seeds))}"
    base = "" if shown.base is None else f" Untrained, the perplexity is {shown.base:,.1f}."
    about = "".join(
        f"<dt>{escape(row.method)}</dt><dd>{escape(row.about)}"
        f"{'' if row.finished else ' (a peer stopped before its last round)'}</dd>"
        for row in shown.methods
    )
    meaning = "".join(f"<dt>{escape(head)}</dt><dd>{escape(text)}</dd>" for head, text, _ in _COLUMNS)
    return (
        '<section aria-labelledby="methods-title"><h2 id="methods-title">Methods</h2>'
        f'<p class="lead">{shown.peers} peers, {shown.rounds} rounds, {seeds}.{base}</p>'
        f'<div class="scroll" role="region" tabindex="0" aria-label="Table of methods">{_table(shown)}</div>'
        f'{_kinds(shown)}<dl class="terms">{about}</dl>'
        f'<details><summary>What the columns mean</summary><dl class="terms">{meaning}</dl></details></section>'
    )


def _table(shown: Comparison) -> str:
    heads = "".join(
        f'<th scope="col" title="{escape(text)}">{escape(head)}</th>' for head, text, _ in _COLUMNS
    )
    rows = "".join(_row(row.method, "".join(cell(row) for _, _, cell in _COLUMNS)) for row in shown.methods)
    return _framed(heads, rows)


def _kinds(shown: Comparison) -> str:
    """A table by kind of device; empty where all devices are alike."""
    kinds = list(dict.fromkeys(kind for row in shown.methods for kind in row.devices))
    if not kinds:
        return ""
    heads = "".join(f'<th scope="col">{escape(kind or "others")}</th>' for kind in (*kinds, "pooled"))
    rows = "".join(
        _row(row.method, "".join(_kind(row.devices.get(kind)) for kind in kinds) + _mean(row.pooled, 2))
        for row in shown.methods
    )
    return (
        '<p class="lead">By kind of peer: perplexity after the last merge, and its difference from training '
        'alone; pooled is that over the text of all together.</p><div class="scroll" role="region" tabindex="0" '
        f'aria-label="Table of methods by kind of peer">{_framed(heads, rows)}</div>'
    )


def _framed(heads: str, rows: str) -> str:
    return (
        '<table class="plain"><thead><tr><th scope="col">method</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(method: str, cells: str) -> str:
    name = escape(method)
    return f'<tr><th scope="row"><button type="button" data-method="{name}">{name}</button></th>{cells}</tr>'


def _kind(value: DeviceSummary | None) -> str:
    if value is None:
        return _NONE
    against = value.against_local
    difference = "" if against is None else f" <small>({against.mean:+,.2f})</small>"
    return f"<td>{value.after.mean:,.2f}{difference}</td>"


def _difference(value: Spread | None) -> str:
    """The cell of a difference, marked where it differs from 0 by more than two standard deviations over seeds."""
    if value is None:
        return _NONE
    sure = value.std is not None and abs(value.mean) > 2 * value.std
    mark = "" if not sure else ' class="better"' if value.mean < 0 else ' class="worse"'
    return f"<td{mark}>{_number(value, '+')}</td>"


def _spread(value: Spread) -> str:
    return f"<td><strong>{_number(value)}</strong></td>"


def _number(value: Spread, sign: str = "") -> str:
    places = 2 if abs(value.mean) < 100 else 1
    deviation = "" if value.std is None else f" <small>±{value.std:.{places}f}</small>"
    return f"{value.mean:{sign},.{places}f}{deviation}"


def _mean(value: Spread | None, places: int) -> str:
    return _NONE if value is None else f"<td>{value.mean:,.{places}f}</td>"


def _plain(value: float) -> str:
    return f"<td>{value:,.1f}</td>"
