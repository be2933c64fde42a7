"""Screens over the matrix: a page of scrolling text, and the message that the terminal is too small."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class Page(ModalScreen[None]):
    """A page of text that scrolls. `text` returns the page for a width; it is called again whenever the page may have
    changed.

    With `end`, the page opens scrolled to its end, and follows it until the user scrolls away.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "close"),
        Binding("up,k", "scroll(-1)"),
        Binding("down,j", "scroll(1)"),
        Binding("pageup", "scroll(-10)"),
        Binding("pagedown", "scroll(10)"),
        Binding("home,g", "scroll(-1000000)"),
        Binding("end,G", "scroll(1000000)"),
    ]
    CSS = """
    Page { align: center middle; background: $background 60%; }
    Page > VerticalScroll { width: 100%; max-width: 100; height: auto; max-height: 100%; border: round $primary;
        background: $surface; padding: 0 1; scrollbar-size: 1 1; }
    Page Static { width: 100%; }
    """

    def __init__(self, text: Callable[[int], Text], *, end: bool = False) -> None:
        super().__init__()
        self._text = text
        self._end = end
        self._shown: Text | None = None

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False) as scroll:
            scroll.border_subtitle = "escape closes"
            yield Static(markup=False)

    def on_mount(self) -> None:
        self.call_after_refresh(self.renew)

    def on_resize(self) -> None:
        self.call_after_refresh(self.renew)

    def renew(self) -> None:
        """Draw the page again if its text changed."""
        scroll, static = self.query_one(VerticalScroll), self.query_one(Static)
        # The CSS above allows 100 columns, of which border, padding and scrollbar take 5.
        text = self._text(max(20, min(self.size.width, 100) - 5))
        if text == self._shown:
            return
        at_end = self._end and (self._shown is None or scroll.scroll_offset.y >= scroll.max_scroll_y)
        self._shown = text
        static.update(text)
        if at_end:
            scroll.scroll_end(animate=False)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class TooSmall(ModalScreen[None]):
    """Message for a terminal of less than `width` columns or `height` lines."""

    CSS = "TooSmall { background: $background; } TooSmall Static { width: 100%; height: 1; }"

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self._needed = (width, height)

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def on_resize(self) -> None:
        width, height = self._needed
        text = f"Too small: needs {width}x{height}, has {self.size.width}x{self.size.height}."
        self.query_one(Static).update(text)
