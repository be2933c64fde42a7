"""The parts of the page that are written as HTML, and visible without JavaScript.

The matrix and the table of peers show the last round; the script replaces them by views of any round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from sim.reporting.document import PeerPart, ReportDocument, RunPart
from sim.reporting.page.comparison_table import methods_table
from trust.inspection.drawing.shades import RELATIONS
from trust.record.measures import effective_collaborators

_LEVELS = 20
"""Steps of the colours of a matrix: classes `w1` to `w20` of page.css."""


def sections(document: ReportDocument) -> dict[str, str]:
    run = document.runs[document.first]
    return {
        "heading": escape(document.title),
        "facts": _facts(document, run),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in _notes(document)),
        "methods": methods_table(document.comparison) if document.comparison else "",
        "of": f" of {escape(run.title)}" if run.title else "",
        "menu": _menu(document),
        "matrix": _matrix(run),
        "peers": _peers(run),
        "spent": _spent(run),
        "configuration": _configuration(document),
        "versions": _list(document.versions) or "<p>Not recorded.</p>",
        "fingerprints": _fingerprints(document),
        "files": _files(document),
    }


def _facts(document: ReportDocument, run: RunPart) -> str:
    peers = sum(one.totals is not None for one in run.peers)
    facts = [_counted(peers, "peer"), _counted(run.recorded, "round")]
    if len(document.runs) > 1:
        facts.insert(0, _counted(len(document.runs), "run"))
    if run.method is None and (day := _day(run.began_s)):
        facts.append(day)
    return " · ".join(facts)


def _day(at_s: float) -> str:
    """The date as text; empty for a time outside the calendar, which a damaged or foreign history can hold."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%d %B %Y}".lstrip("0")
    except (OverflowError, ValueError, OSError):
        return ""


def _notes(document: ReportDocument) -> Iterable[str]:
    for file in document.files:
        if file.torn_bytes:
            yield f"{file.path}: {file.torn_bytes:,} bytes at the end are not shown ({file.why})."
    thinned = [run for run in document.runs if len(run.rounds) < run.recorded]
    if thinned:
        run = thinned[0]
        whose = "Each run" if len(document.runs) > 1 else "The page"
        yield (
            f"{whose} shows {len(run.rounds)} of {run.recorded} rounds, evenly spaced, to keep the file small; "
            "seconds and bytes count all of them."
        )
    unfinished = [run.title for run in document.runs if run.finished is False]
    if unfinished:
        yield f"A peer stopped before its last round: {'; '.join(unfinished)}."
    yield from document.notes


def _menu(document: ReportDocument) -> str:
    if len(document.runs) == 1:
        return ""
    options = "".join(
        f'<option value="{index}"{" selected" if index == document.first else ""}>{escape(run.title)}</option>'
        for index, run in enumerate(document.runs)
    )
    return f'<label class="field">Run <select id="run">{options}</select></label>'


def _matrix(run: RunPart) -> str:
    heads = "".join(f'<th scope="col"><span>{_label(peer)}</span></th>' for peer in run.peers)
    weights = [_weights(index, run) for index in range(len(run.peers))]
    top = max((weight for row in weights for weight in row if 0 < weight < math.inf), default=1.0)
    rows = "".join(
        f'<tr><th scope="row">{_label(peer)}</th>'
        + "".join(
            _cell(weight, top, own=index == column, mark=_marks(index, run).get(column, "·"))
            for column, weight in enumerate(row)
        )
        + "</tr>"
        for index, (peer, row) in enumerate(zip(run.peers, weights, strict=True))
        if row
    )
    return f'<table class="matrix"><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _weights(index: int, run: RunPart) -> list[float]:
    """The weights in a peer's last row, one for each peer of the run; empty for a peer without a round."""
    series = run.peers[index].series
    if not series.rounds:
        return []
    weights = [0.0] * len(run.peers)
    for one in series.seen[-1]:
        weights[one.peer] = one.weight
    weights[index] = series.self_weight[-1]
    return weights


def _marks(index: int, run: RunPart) -> dict[int, str]:
    """What stands for a weight of nothing of neighbours with another base, in a peer's last row."""
    series = run.peers[index].series
    seen = series.seen[-1] if series.rounds else ()
    return {one.peer: RELATIONS[one.relation] for one in seen if one.relation in RELATIONS}


def _cell(weight: float, top: float, *, own: bool, mark: str) -> str:
    """`mark` stands for a weight of nothing."""
    kind = " own" if own else ""
    if not math.isfinite(weight):
        return f'<td class="none{kind}">?</td>'
    if not weight > 0:
        return f'<td class="none{kind}">{mark}</td>'
    level = max(1, math.ceil(math.sqrt(min(weight / top, 1.0)) * _LEVELS))
    text = "&lt;1" if weight < 0.005 else f"{100 * weight:.0f}"
    return f'<td class="w{level}{kind}">{text}</td>'


def _peers(run: RunPart) -> str:
    heads = (
        "peer", "round", "own", "peers", "trust before", "trust after", "test before", "test after", "guard",
        "train s", "gather s", "merge s", "sent", "received",
    )  # fmt: skip
    rows = [_numbers(index, run) for index, peer in enumerate(run.peers) if peer.series.rounds]
    return _table(heads, rows)


def _numbers(index: int, run: RunPart) -> tuple[str, ...]:
    peer = run.peers[index]
    series, totals = peer.series, peer.totals
    assert totals is not None, "a peer with rounds has totals"
    return (
        peer.label,
        str(series.rounds[-1]),
        _fixed(series.self_weight[-1], 2),
        _fixed(effective_collaborators(_weights(index, run)), 1),
        *(_fixed(one[-1], 4) for one in (series.trust_alone, series.trust_merged)),
        *(_fixed(one[-1], 4) for one in (series.test_alone, series.test_merged)),
        series.guard[-1],
        *(_fixed(one / totals.rounds, 2) for one in (totals.train_s, totals.gather_s, totals.merge_s)),
        *(f"{sum(one.values()) / 1e6:,.1f} MB" for one in (totals.sent, totals.received)),
    )


def _spent(run: RunPart) -> str:
    """The section on what the peers spent; nothing where no round has a cost."""
    rows = [
        (
            peer.label,
            str(one.rounds),
            f"{one.joules:,.0f}",
            one.method,
            f"{one.processor_s:,.1f}",
            f"{one.peak_bytes / 1e6:,.0f} MB" if one.peak_bytes else "?",
            *(f"{count / 1e6:,.1f} MB" for count in (one.sent, one.received)),
        )
        for peer in run.peers
        if peer.totals is not None
        for one in peer.totals.spent
    ]
    if not rows:
        return ""
    of = f" of {escape(run.title)}" if run.title else ""
    heads = ("peer", "rounds", "joules", "counted by", "processor s", "peak memory", "sent", "received")
    return (
        f'<section aria-labelledby="spent-title"><h2 id="spent-title">Energy and cost{of}</h2>'
        '<p class="lead">Joules that hardware counts are of the whole machine; estimates are of the peer alone.</p>'
        '<div class="scroll" role="region" tabindex="0" aria-label="Energy and cost of each peer">'
        f"{_table(heads, rows)}</div></section>"
    )


def _fixed(value: float, places: int) -> str:
    """The number as `fixed` of kit.js writes it, so that nothing jumps when the script replaces the table."""
    return f"{value:.{places}f}" if math.isfinite(value) else "?"


def _configuration(document: ReportDocument) -> str:
    texts = "".join(
        f'<details><summary>{escape(one.path)}</summary><pre tabindex="0">{escape(one.text)}</pre></details>'
        for one in document.configuration
    )
    return texts or "<p>Left out.</p>"


def _fingerprints(document: ReportDocument) -> str:
    rows = [(one.what, one.value, str(one.peers)) for one in document.fingerprints]
    return _table(("of", "fingerprint", "peers"), rows, hashes=True)


def _files(document: ReportDocument) -> str:
    rows = [(one.path, f"{one.bytes:,}", f"{one.records:,}", one.sha256) for one in document.files]
    return _table(("file", "bytes", "records", "SHA-256"), rows, hashes=True)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, hashes: bool = False) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row"><bdi>{escape(row[0])}</bdi></th>'
        + "".join(f"<td>{escape(one)}</td>" for one in row[1:])
        + "</tr>"
        for row in rows
    )
    kind = "plain hashes" if hashes else "plain"
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _list(lines: Sequence[str]) -> str:
    return f"<p>{' · '.join(map(escape, lines))}</p>" if lines else ""


def _label(peer: PeerPart) -> str:
    return f"<bdi>{escape(peer.label)}</bdi>"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
