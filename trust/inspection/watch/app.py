"""The live view in a terminal: handles keys, draws panels, and reads the history files at an interval."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType

from trust.inspection.watch.board import Board
from trust.inspection.watch.following import Following
from trust.inspection.watch.panels.drawing import (
    Scene,
    bytes_table,
    events_table,
    matrix_table,
    peers_table,
    scene,
)
from trust.inspection.watch.panels.pages import HELP, cell_page, events_page
from trust.inspection.watch.panels.screens import Page, TooSmall
from trust.inspection.watch.panels.status import status_line
from trust.inspection.watch.panels.table import DIM, Cell, CellTable
from trust.inspection.watch.panels.table_view import TableView
from trust.inspection.watch.sorting import SORTS
from trust.record.history import PeerName

LEAST: Final = (60, 16)
"""Smallest terminal in columns and lines; a smaller one shows only the `TooSmall` screen."""

INTERRUPTED: Final = 130
"""Exit status after ctrl+c: 128 + SIGINT, as shells report it."""

_KEYS: Final = "? help  q quit  enter cell  s sort  space freeze  b bytes  r refusals"
_FEWER_KEYS: Final = "? help  q quit  ↵ cell  s sort  space freeze  b bytes  r log"
_WAITING: Final = "No peer has finished a round yet. Waiting."
_LOG: Final = 2
"""Smallest height of the log in lines."""

_CATCH_UP_S: Final = 0.02
"""Seconds between two parts of a long history, in which keys are handled."""


class WatchApp(App[None]):
    """The live view of the histories in `following`, until the user quits. Reads the files every `every_s` seconds."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1, 0)"),
        Binding("down,j", "move(1, 0)"),
        Binding("left,h", "move(0, -1)"),
        Binding("right,l", "move(0, 1)"),
        Binding("pageup", "move(-10, 0)"),
        Binding("pagedown", "move(10, 0)"),
        Binding("g,home", "move(-1000000, 0)"),
        Binding("G,end", "move(1000000, 0)"),
        Binding("enter", "open_cell"),
        Binding("s", "sort"),
        Binding("b", "bytes"),
        Binding("r", "refusals"),
        Binding("question_mark", "help"),
        # With priority, so that these keys work while a page is open.
        Binding("space", "freeze", priority=True),
        Binding("q", "quit", priority=True),
        Binding("ctrl+c", "interrupt", priority=True),
    ]
    CSS = """
    TableView { height: 1; }
    #log { height: 1fr; }
    #status, #keys { background: $panel; }
    """

    def __init__(self, following: Following, *, every_s: float) -> None:
        # With `ansi_color`, NO_COLOR leaves the terminal's own two colours; without it, textual makes everything grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self._following = following
        self._every_s = every_s
        self._board = Board()
        # A copy of the board while the user has frozen the view; reading goes on into `_board`.
        self._frozen: Board | None = None
        self._behind = 0
        self._troubles: tuple[str, ...] = ()
        self._sort = 0
        # (learner, other) of the cell under the cursor; None while no peer has a row.
        self._cursor: tuple[PeerName, PeerName] | None = None
        self._bytes = False
        self._scene: Scene = scene(self._board, SORTS[0])
        self._heights = (0, 0, 0)
        self._status, self._matrix, self._lower = TableView("status"), TableView("matrix"), TableView("lower")
        self._event_log, self._keys = TableView("log"), TableView("keys")

    def compose(self) -> ComposeResult:
        yield from (self._status, self._matrix, self._lower, self._event_log, self._keys)

    def on_mount(self) -> None:
        self.title = "gossipllm trust watch"
        self._follow()

    def look(self) -> None:
        """Read new entries, and draw them unless the view is frozen."""
        new = self._following.read_new()
        if new.restarted:
            self._board = Board()
        self._board.feed(new.entries)
        self._behind = new.behind
        troubles, self._troubles = self._troubles, self._following.troubles
        if self._frozen is None and (new.entries or new.restarted or troubles != self._troubles):
            self._arrange()
        else:
            self._draw_status()

    def on_resize(self, event: events.Resize) -> None:
        small = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        if small and not isinstance(self.screen, TooSmall):
            self.push_screen(TooSmall(*LEAST))
        elif not small and isinstance(self.screen, TooSmall):
            self.pop_screen()
        self.call_after_refresh(self._draw)

    def action_move(self, down: int, right: int) -> None:
        if self._cursor is None:
            return
        row, column = self._place(self._cursor)
        learners, peers = self._scene.learners, self._scene.peers
        row, column = min(max(row + down, 0), learners - 1), min(max(column + right, 0), len(peers) - 1)
        self._cursor = (peers[row], peers[column])
        self._draw()

    def action_sort(self) -> None:
        self._sort = (self._sort + 1) % len(SORTS)
        self._arrange()

    def action_bytes(self) -> None:
        self._bytes = not self._bytes
        self._draw()

    def action_freeze(self) -> None:
        self._frozen = self._board.snapshot() if self._frozen is None else None
        self._arrange()

    def action_open_cell(self) -> None:
        if self._cursor is not None:
            learner, other = self._cursor
            self._open(lambda width: cell_page(self._scene, learner, other, width))

    def action_refusals(self) -> None:
        self._open(lambda _: events_page(self._scene), end=True)

    def action_help(self) -> None:
        self._open(lambda _: Text(HELP.rstrip()))

    def action_interrupt(self) -> None:
        self.exit(return_code=INTERRUPTED)

    def _open(self, text: Callable[[int], Text], *, end: bool = False) -> None:
        if len(self.screen_stack) == 1:
            self.push_screen(Page(text, end=end))

    def _follow(self) -> None:
        self.look()
        self.set_timer(_CATCH_UP_S if self._behind else self._every_s, self._follow)

    def _arrange(self) -> None:
        self._scene = scene(self._frozen or self._board, SORTS[self._sort])
        peers, learners = self._scene.peers, self._scene.peers[: self._scene.learners]
        if not learners:
            self._cursor = None
        elif self._cursor is None or self._cursor[0] not in learners or self._cursor[1] not in peers:
            self._cursor = (learners[0], learners[0])
        self._draw()

    def _draw(self) -> None:
        width, height = self.size
        self._draw_status()
        if self._cursor is None:
            matrix, lower, at = _message(_WAITING, width), _message("", width), None
        else:
            matrix = matrix_table(self._scene, width)
            lower = (bytes_table if self._bytes else peers_table)(self._scene, width)
            at = self._place(self._cursor)
        log = self._share(height - 2, _lines(matrix), _lines(lower))
        self._matrix.show(matrix, at and (at[0], at[1] + 1))
        self._lower.show(lower, at and (at[0], 0))
        self._event_log.show(events_table(self._scene, self._troubles, lines=log, width=width))
        self._keys.show(_message(_KEYS if width >= len(_KEYS) else _FEWER_KEYS, width))
        for screen in self.screen_stack[1:]:
            if isinstance(screen, Page):
                screen.renew()

    def _draw_status(self) -> None:
        line = status_line(
            self._scene,
            SORTS[self._sort],
            self._cursor,
            width=self.size.width,
            now=time.time(),
            frozen=self._frozen is not None,
            read=1 - self._behind / self._following.size if self._behind else None,
        )
        self._status.show(line)

    def _place(self, cell: tuple[PeerName, PeerName]) -> tuple[int, int]:
        """Row and column of a cell (learner, other) in the matrix."""
        learner, other = cell
        return self._scene.peers.index(learner), self._scene.peers.index(other)

    def _share(self, height: int, matrix: int, lower: int) -> int:
        """Divide `height` lines between matrix, lower table and log, and return the height of the log.

        Where matrix and lower table do not both fit, each gets at least half. A blank line separates panels where
        there is room for it.
        """
        room = height - _LOG
        matrix = min(matrix, max(room // 2, room - lower))
        lower = min(lower, room - matrix)
        gap = int(matrix + lower + 2 <= room)
        if (matrix, lower, gap) != self._heights:
            self._heights = (matrix, lower, gap)
            self._matrix.styles.height, self._lower.styles.height = matrix, lower
            self._lower.styles.margin = self._event_log.styles.margin = (gap, 0, 0, 0)
        return height - matrix - lower - 2 * gap


def _message(text: str, width: int) -> CellTable:
    return CellTable((width,), (), ((Cell(text, DIM),),))


def _lines(table: CellTable) -> int:
    return bool(table.head) + len(table.rows)
