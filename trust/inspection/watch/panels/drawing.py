"""Draws a board as tables of styled text that fit a width. Pure functions: no terminal, no state.

Text from files is escaped and put into segments as it is, so that it cannot act as markup.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.style import Style

from trust.inspection.drawing.shades import RELATIONS, outcome, weight_style, weight_text
from trust.inspection.reading.traffic import PeerTraffic
from trust.inspection.watch.board import Board, Event, WatchedPeer
from trust.inspection.watch.panels.charts import sparkline
from trust.inspection.watch.panels.table import BOLD, DIM, PLAIN, Cell, CellTable, LazyRows, Row
from trust.inspection.watch.sorting import Sort, in_order
from trust.names import escaped, short_names
from trust.record.history import PeerName, Refusal, Round, Seen

NAME_WIDTH: Final = 12
_CELL_WIDTH: Final = 5
"""Width of a cell: `*100`, and a blank that sets cells apart."""

_CORNER: Final = "who learns"

_LEVEL: Final = {"info": DIM, "warning": Style(color="yellow"), "error": Style(color="red")}


@dataclass(frozen=True, slots=True)
class Scene:
    """A board with an order of its peers. The first `learners` of `peers` have a row, the others only a column."""

    board: Board
    peers: tuple[PeerName, ...]
    names: dict[PeerName, str]
    """Peer -> short name that no other peer has."""
    learners: int

    def name(self, peer: PeerName) -> str:
        """Short name of a peer, also of a peer that is not in the matrix."""
        return self.names.get(peer) or short_names([(peer, "")], NAME_WIDTH)[0]


def scene(board: Board, sort: Sort) -> Scene:
    matrix = board.matrix
    # Short names depend only on the set of peers, so that sorting changes no name.
    short = short_names(list(zip(matrix.peers, matrix.names, strict=True)), NAME_WIDTH)
    peers = in_order(board, sort)
    return Scene(board, peers, dict(zip(matrix.peers, short, strict=True)), len(board.peers))


def matrix_table(scene: Scene, width: int) -> CellTable:
    """The trust matrix. Column heads are names where all fit side by side, otherwise numbers, as in `trust show`."""
    names = [scene.names[peer] for peer in scene.peers]
    longest = max(map(len, names), default=0)
    label, cell = max(longest, len(_CORNER)), max(_CELL_WIDTH, longest + 1)
    heads, labels = names, names
    if label + len(names) * cell > width:
        digits = len(str(len(names)))
        heads = [str(number) for number in range(1, len(names) + 1)]
        labels = [f"{number:>{digits}} {name}" for number, name in enumerate(names, start=1)]
        label, cell = label + digits + 1, _CELL_WIDTH
    weights = scene.board.matrix
    place = {peer: index for index, peer in enumerate(weights.peers)}
    order = [place[peer] for peer in scene.peers]
    finite = weights.rows_PP[np.isfinite(weights.rows_PP)]
    top = float(finite.max(initial=0.0)) or 1.0

    def row(number: int) -> Row:
        row_P = weights.rows_PP[order[number]].tolist()
        own, latest = order[number], scene.board.peers[scene.peers[number]].latest
        seen_of = {place[seen.peer]: seen for seen in latest.seen} if latest else dict[int, Seen]()
        cells = (
            _weight(row_P[column], top, cell, own=column == own, seen=seen_of.get(column)) for column in order
        )
        return (Cell(labels[number], BOLD), *cells)

    head = (Cell(_CORNER, BOLD), *(Cell(head.rjust(cell), BOLD, gap=1) for head in heads))
    return CellTable((label, *(cell for _ in heads)), head, LazyRows(scene.learners, row))


def peers_table(scene: Scene, width: int) -> CellTable:
    """Round, losses and traffic of each peer, in as many columns as fit. The chart of test losses takes spare room."""
    name = max((len(scene.names[peer]) for peer in scene.peers), default=0) + 1
    name = max(name, len("peer") + 1)
    columns = dict(_COLUMNS)
    for dispensable in _DISPENSABLE:
        if name + sum(columns.values()) > width:
            del columns[dispensable]
    if _PAST in columns:
        columns[_PAST] += min(max(0, width - name - sum(columns.values())), 24)
    rows = LazyRows(
        scene.learners, lambda number: _peer_row(scene, scene.board.peers[scene.peers[number]], columns)
    )
    heads = (Cell(column.rjust(wide), BOLD) for column, wide in columns.items())
    return CellTable((name, *columns.values()), (Cell("peer", BOLD), *heads), rows)


def bytes_table(scene: Scene, width: int) -> CellTable:
    """Bytes sent and received by kind, the largest kind first; kinds that do not fit are summed up as `other`."""
    traffic = scene.board.traffic
    totals: Counter[str] = Counter()
    for peer_traffic in traffic.values():
        totals += peer_traffic.sent + peer_traffic.received
    kinds = [kind for kind, _ in totals.most_common()]
    name = max([len(scene.names[peer]) for peer in scene.peers] + [len(_SENT_RECEIVED)]) + 1
    room = max(3, (width - name) // _BYTES)
    shown, others = (kinds, []) if len(kinds) < room else (kinds[: room - 2], kinds[room - 2 :])
    groups = {"all": kinds} | {escaped(kind, _BYTES - 2): [kind] for kind in shown}
    if others:
        groups["other"] = others

    def row(number: int) -> Row:
        peer = scene.peers[number]
        peer_traffic = traffic.get(peer, PeerTraffic())
        cells = (
            Cell(
                _pair(
                    sum(peer_traffic.sent[kind] for kind in group),
                    sum(peer_traffic.received[kind] for kind in group),
                )
            )
            for group in groups.values()
        )
        return (Cell(scene.names[peer], BOLD), *cells)

    head = (Cell(_SENT_RECEIVED, BOLD), *(Cell(group.rjust(_BYTES), BOLD) for group in groups))
    return CellTable((name, *(_BYTES for _ in groups)), head, LazyRows(scene.learners, row))


def event_cell(scene: Scene, event: Event) -> Cell:
    """A refusal or a note as one line of text, not shortened."""
    record = event.record
    begin = f"{clock(event.at_s)} {scene.name(record.peer) if record.peer else 'all'} "
    if isinstance(record, Refusal):
        line = f"{begin}refused {scene.name(record.about)}: {escaped(record.field)}: {escaped(record.why)}"
        return Cell(line, Style(color="yellow"))
    return Cell(begin + escaped(record.text, 500), _LEVEL[record.level])


def events_table(scene: Scene, troubles: Sequence[str], *, lines: int, width: int) -> CellTable:
    """The log, at most `lines` long: the last refusals and notes, newest last, and below them the troubles of files."""
    cells = [event_cell(scene, event) for event in scene.board.events[-lines:]]
    cells += [Cell(trouble, _LEVEL["error"]) for trouble in troubles]
    cells = [replace(cell, text=_cut(cell.text, width)) for cell in cells[-lines:]]
    cells = cells or [Cell("nothing was refused, and nothing noted", DIM)]
    return CellTable((width,), (), tuple((cell,) for cell in cells))


def short_bytes(count: float) -> str:
    """Bytes in at most four characters up to 999 PB: `999`, `1.2k`, `12k`, `999G`."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f}{_UNITS[unit]}" if unit and count < 9.95 else f"{count:.0f}{_UNITS[unit]}"


def short_loss(loss: float) -> str:
    """A loss in at most five characters; below ten it has three decimals."""
    if not math.isfinite(loss):
        return "?" if math.isnan(loss) else "inf" if loss > 0 else "-inf"
    size = abs(loss)
    return f"{loss:.3f}" if size < 9.9995 else f"{loss:.1f}" if size < 999.95 else f"{loss:.0e}"


def clock(at_s: float) -> str:
    """Local time of day, `--:--:--` for a time that the platform cannot represent (the history of a stranger)."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(at_s))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


_UNITS: Final = ("", "k", "M", "G", "T", "P")
_BYTES: Final = 11
"""Width of a column of bytes: `1.2M/999k`, and two blanks."""
_SENT_RECEIVED: Final = "sent/recv"
_PAST: Final = "past"
_COLUMNS: Final = {
    "round": 6,
    "alone": 6,
    "merged": 7,
    "test": 6,
    _PAST: 5,
    "train": 6,
    "sent": 6,
    "recv": 6,
    "B/s": 6,
    "seen": 5,
    "guard": 8,
}
"""Head -> width of the columns of `peers_table`, in their order."""
_DISPENSABLE: Final = ("B/s", "seen", "train", "recv", "sent", _PAST)
"""Columns left out in a narrow terminal, in this order. The page of a peer's own cell shows the same values."""


def _weight(weight: float, top: float, width: int, *, own: bool, seen: Seen | None) -> Cell:
    if seen is not None and seen.relation in RELATIONS and not weight > 0:
        return Cell(RELATIONS[seen.relation].rjust(width), DIM, gap=1)
    left_out = seen is not None and seen.left is not None
    text = weight_text(weight, own=own, left_out=left_out).rjust(width)
    return Cell(text, weight_style(weight, top, own=own, left_out=left_out), gap=1)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _pair(sent: int, received: int) -> str:
    return f"{short_bytes(sent)}/{short_bytes(received)}".rjust(_BYTES)


def _outcome(latest: Round) -> Cell:
    word, style = outcome(latest.guard, settled=latest.settled)
    return Cell(word, style or PLAIN)


def _peer_row(scene: Scene, watched: WatchedPeer, columns: dict[str, int]) -> Row:
    name, latest = Cell(scene.names[watched.peer], BOLD), watched.latest
    if latest is None:
        return (name, *(Cell("-".rjust(wide), DIM) for wide in columns.values()))
    traffic = scene.board.traffic.get(watched.peer, PeerTraffic())
    better = latest.trust_merged < latest.trust_alone
    cells = {
        "round": Cell(str(latest.round)),
        "alone": Cell(short_loss(latest.trust_alone)),
        "merged": Cell(short_loss(latest.trust_merged), Style(color="green") if better else PLAIN),
        "test": Cell(short_loss(latest.test_merged)),
        _PAST: Cell(sparkline([point.test_merged for point in watched.points], columns.get(_PAST, 1) - 1)),
        "train": Cell(short_loss(latest.train_loss)),
        "sent": Cell(short_bytes(traffic.sent.total())),
        "recv": Cell(short_bytes(traffic.received.total())),
        "B/s": Cell("-" if watched.rate is None else short_bytes(max(watched.rate, 0.0))),
        "seen": Cell(str(len(latest.seen))),
        "guard": _outcome(latest),
    }
    row = (Cell(cells[column].text.rjust(wide), cells[column].style) for column, wide in columns.items())
    return (name, *row)
