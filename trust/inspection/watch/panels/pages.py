"""Text of the pages over the matrix: one cell of the matrix, all refusals and notes, and the help."""

from __future__ import annotations

from typing import Final

from rich.style import Style
from rich.text import Text

from trust.counting import counted
from trust.inspection.reading.traffic import PeerTraffic
from trust.inspection.watch.board import WatchedPeer
from trust.inspection.watch.panels.charts import columns, sparkline
from trust.inspection.watch.panels.drawing import Scene, clock, event_cell, short_bytes, short_loss
from trust.inspection.watch.panels.table import BOLD, DIM
from trust.record.history import PeerName, Round

_CHART_HEIGHT: Final = 5
_LAST: Final = 3
"""Refusals shown on the page of a cell; the page of key `r` shows all that the board keeps."""

HELP: Final = """\
A row is one peer: what share of its next adapter
comes from itself (*) and from each neighbour, in %.

  arrows, hjkl  move      g, G     first, last row
  enter         open the cell      escape   close
  s             by name, self weight, loss, cluster
  space         freeze: reading goes on, unseen
  b             bytes by kind, and back to losses
  r             all refusals and notes
  q             quit

alone, merged: loss on the peer's trust split before
and after its last merge; test: on its test split
after it; past: that, drawn; train: of its training.
All in nats per token. B/s: bytes a second, sent and
received, by the clock of the peer. seen: neighbours
in its last round. guard: what became of the merge.
✗: tried by itself and left out; enter says why.
Of another base, d: distils its predictions, c: only
compares them, a: apart, of no use to each other.
"""


def cell_page(scene: Scene, learner: PeerName, other: PeerName, width: int) -> Text:
    """The page of one cell: the weight that `learner` gives `other` (possibly itself), its course and its reasons."""
    watched = scene.board.peers.get(learner)
    if watched is None:
        # A file was replaced while the page was open, and everything is read again.
        return Text(f"Nothing is known of {scene.name(learner)} any more.")
    name, source = scene.name(learner), scene.name(other)
    title = f"{name} keeps of its own" if learner == other else f"{name} learns from {source}"
    lines = [Text(title, BOLD), *_chart(watched, other, width)]
    if watched.latest is None:
        lines.append(Text("No round finished yet."))
    elif learner == other:
        lines += _own(scene, watched, watched.latest, width)
    else:
        lines += _neighbour(scene, watched, other, watched.latest)
    lines += _refusals(scene, learner, other)
    return Text("\n").join(lines)


def events_page(scene: Scene) -> Text:
    """The page of all refusals and notes that the board keeps, oldest first, not shortened."""
    board = scene.board
    lines = [Text(cell.text, cell.style) for cell in (event_cell(scene, event) for event in board.events)]
    if not lines:
        return Text("Nothing was refused, and nothing noted.")
    kept = f"{board.refusals} refusals in all; the last {len(lines)} refusals and notes:"
    return Text("\n").join([Text(kept, DIM), *lines])


def _chart(watched: WatchedPeer, other: PeerName, width: int) -> list[Text]:
    points = tuple(watched.points)
    if not points:
        return []
    weights = [point.weights.get(other) for point in points]
    top = max((weight for weight in weights if weight is not None and weight > 0), default=0.0)
    if not top > 0:
        return [Text(f"No weight in rounds {points[0].round} to {points[-1].round}.", DIM)]
    label = 6
    drawn = columns(weights, width=width - label - 1, height=_CHART_HEIGHT, top=top)
    edges = {0: f"{100 * top:.3g} %", _CHART_HEIGHT - 1: "0 %"}
    lines = [
        Text(edges.get(number, "").rjust(label) + " ", DIM).append(line, Style(color="cyan", dim=False))
        for number, line in enumerate(drawn)
    ]
    begin, end = f"round {points[0].round}", str(points[-1].round)
    wide = min(len(points), width - label - 1)
    axis = begin + end.rjust(wide - len(begin)) if wide > len(begin) + len(end) else f"{begin} to {end}"
    return [*lines, Text(" " * (label + 1) + axis, DIM)]


def _own(scene: Scene, watched: WatchedPeer, latest: Round, width: int) -> list[Text]:
    test, merged = short_loss(latest.test_alone), short_loss(latest.test_merged)
    traffic = scene.board.traffic.get(watched.peer, PeerTraffic())
    sent, received = short_bytes(traffic.sent.total()), short_bytes(traffic.received.total())
    rate = "" if watched.rate is None else f", {short_bytes(max(watched.rate, 0.0))}B/s"
    lines = (
        f"{100 * latest.self_weight:.1f} % in round {latest.round}, with {counted(len(latest.seen), 'neighbour')} seen",
        *_merge(latest),
        f"test loss {test} -> {merged}, train loss {short_loss(latest.train_loss)}",
        "test loss "
        + sparkline([point.test_merged for point in watched.points], min(len(watched.points), width - 10)),
        f"{counted(latest.tokens, 'token')} in {counted(latest.steps, 'step')}",
        f"{latest.train_s:.1f} s training, {latest.gather_s:.1f} s gathering, {latest.merge_s:.1f} s merging",
        f"sent {sent}B, received {received}B{rate}",
    )
    return [Text(line) for line in lines]


def _neighbour(scene: Scene, watched: WatchedPeer, other: PeerName, latest: Round) -> list[Text]:
    seen, name = watched.seen(other), scene.name(other)
    if seen is None:
        last = next((point.round for point in reversed(watched.points) if other in point.weights), None)
        when = "in none of the rounds kept" if last is None else f"last in round {last}"
        return [Text(f"not seen in round {latest.round}, {when}")]
    closer = sum(neighbour.distance < seen.distance for neighbour in latest.seen)
    lines = (
        f"{100 * seen.weight:.1f} % in round {latest.round}",
        f"distance {seen.distance:.4g} ± {seen.error:.2g}, {closer + 1} of {len(latest.seen)} from the closest",
        f"round {seen.its_round} of {name}, which came {_rounds(seen.age)} ago",
        f"{name} says {seen.tokens:,} tokens, {seen.samples:,} samples",
        *([] if seen.gain is None else [f"by itself it gains {seen.gain:+.4f} ± {seen.gain_error:.4f} nats"]),
        *([] if seen.left is None else [f"left out: {seen.left}"]),
        *_merge(latest),
    )
    return [Text(line) for line in lines]


def _merge(latest: Round) -> list[str]:
    alone, merged = short_loss(latest.trust_alone), short_loss(latest.trust_merged)
    lines = [f"guard: {latest.guard}; trust loss {alone} -> {merged}"]
    if latest.settled:
        lines.append("settled: at rest at its best state, until news helps or its text grows")
    if latest.judged is not None:
        lines.append(f"judged: {latest.judged:+.4f} ± {latest.judged_error:.4f} nats")
    if (distilled := latest.distilled) is not None:
        kept = f"{100 * distilled.share:.0f} % kept" if distilled.share else "undone"
        lines.append(f"distilled: {distilled.gain:+.4f} ± {distilled.error:.4f} nats, {kept}")
    if latest.asks_in:
        lines.append(f"nobody helps: asks again after {_rounds(latest.asks_in)}")
    if latest.temperature is not None:
        lines.append(f"temperature {latest.temperature:.3g}, of {len(latest.tried)} rows tried")
    return lines


def _refusals(scene: Scene, learner: PeerName, other: PeerName) -> list[Text]:
    if learner == other:
        count = scene.board.peers[learner].refusals
        return [Text(f"refused from neighbours: {count}", DIM)] if count else []
    events = scene.board.refusals_of(learner, other)
    if not events:
        return []
    times = "once" if len(events) == 1 else f"{len(events)} times"
    lines = [Text(f"refused {times}, last at {clock(events[-1].at_s)}:")]
    return lines + [
        Text(cell.text, cell.style) for cell in (event_cell(scene, event) for event in events[-_LAST:])
    ]


def _rounds(age: int) -> str:
    return f"{age} round{'' if age == 1 else 's'}"
